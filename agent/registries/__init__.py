"""The registries of an agent: their addresses, the choice among them, and the client."""
