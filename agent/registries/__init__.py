"""The registries that an agent talks to: which one, where it is, and how."""
