"""What `vertice status` and `vertice top` show: of a deployment, and of the agent on this machine."""
