"""`vertice doctor`: collects facts at the edge, judges them with pure functions, and reports findings with a cure."""
