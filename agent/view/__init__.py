"""What an agent knows of the fleet: followed, bounded, kept on disk."""
