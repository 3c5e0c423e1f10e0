"""Followers: replicas whose store is another registry, read by its watch."""
