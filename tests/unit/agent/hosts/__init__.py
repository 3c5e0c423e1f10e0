"""The addresses of the agent's host names."""
