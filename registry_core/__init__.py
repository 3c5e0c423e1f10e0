"""The registry's core: domain, store and API. Importing it starts nothing."""
