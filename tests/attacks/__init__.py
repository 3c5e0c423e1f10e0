"""Attacks on the ports of real programs, measured by what a good neighbour sees: `make attack`."""
