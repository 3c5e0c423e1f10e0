"""Service levels: what the registry promises, and whether it was kept."""
