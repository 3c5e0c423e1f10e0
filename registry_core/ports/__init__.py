"""What the core needs from the outside world, as Protocols. Adapters are in `store/` and `agent/`."""
