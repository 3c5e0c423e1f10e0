"""The HTTP face of a replica. `schemas` alone may be imported by the agent: it starts no server."""
