"""The `vertice` command."""
