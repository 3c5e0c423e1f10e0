"""The registry's core: its domain, its store, its API. Importing it starts nothing."""
