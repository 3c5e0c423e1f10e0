"""Benchmarks: each is a ratio against a named program in the same run."""
