"""The agent's HTTP interface on localhost: lookups, checks, and its own state."""
