"""Keeping the agent's own services registered: claims, heartbeats, checks, drains."""
