"""The addresses of the host names in the agent's settings: looked up, kept, and given to whatever needs them."""
