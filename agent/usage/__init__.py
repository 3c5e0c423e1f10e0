"""What an agent reports about itself, and what its programs asked for."""
