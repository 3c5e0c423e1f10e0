"""Benchmarks: each result is a ratio to a named program measured in the same run."""
