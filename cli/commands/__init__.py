"""The commands of `vertice`, a module each."""
