"""The agent on localhost: lookups, checks, and what it says of itself."""
