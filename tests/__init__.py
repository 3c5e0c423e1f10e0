"""The tests. `programs` starts real programs; `conftest` holds the guards that every test is under."""
