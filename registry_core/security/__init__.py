"""Security: who sends a request, what they may do, and how either is proven."""
