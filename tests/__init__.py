"""The tests. `programs` starts real programs; `conftest` holds the checks that apply to every test."""
