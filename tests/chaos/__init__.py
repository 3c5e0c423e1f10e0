"""Faults done to a running system, and what became of what it had promised. `make chaos` runs them all."""
