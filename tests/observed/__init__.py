"""A whole deployment under a real Prometheus: every expression of a panel, a rule or an alert, under load and faults.

The short part runs in `make test`, the long one is `make observe`.
"""
