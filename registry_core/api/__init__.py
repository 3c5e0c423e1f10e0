"""The HTTP interface of a replica. The agent may import only `schemas`, which starts no server."""
