"""`vertice usage`: who uses whom, as text, as a graph, and beside what a compose file declares."""
