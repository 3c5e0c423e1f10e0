"""What the core asks of the outside world, as Protocols, by who uses it. Adapters are in `store/` and `agent/`."""
