"""The commands of `vertice`, one module each."""
