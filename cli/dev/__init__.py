"""`vertice dev`: a whole system on one machine, made from a compose file."""
