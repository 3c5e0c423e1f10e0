"""`vertice doctor`: facts are collected at the edge, judged by pure functions, and told as findings with a cure."""
