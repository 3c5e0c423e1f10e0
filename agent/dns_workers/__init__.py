"""Processes that answer DNS beside the agent."""
