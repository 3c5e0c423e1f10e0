"""Health checks of the agent's services."""
