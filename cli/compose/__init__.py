"""Compose files: one reader and one model, and what can be said of a fleet from its file alone."""
