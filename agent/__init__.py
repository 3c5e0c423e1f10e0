"""The agent, which runs next to a service: registers it, renews its lease, answers lookups."""
