"""Usage: agents report what was asked for, and replicas add it up."""
