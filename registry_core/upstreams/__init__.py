"""The registries that a program asks: which one to use, and how to send requests to it."""
