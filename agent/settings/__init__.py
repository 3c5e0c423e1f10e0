"""The agent's settings: from the environment and from a file, and read anew while it runs."""
