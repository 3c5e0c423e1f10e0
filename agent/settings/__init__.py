"""The agent's settings: read from the environment and a file, and reloaded while it runs."""
