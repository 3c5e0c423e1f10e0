"""`vertice dev`: runs a whole system on one machine from a compose file."""
