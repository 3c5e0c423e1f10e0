"""Real gateways with the configurations that docs/guide/gateways.md gives."""
