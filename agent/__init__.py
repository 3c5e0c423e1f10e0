"""The agent that stands beside a service: registers it, keeps its lease, answers lookups."""
