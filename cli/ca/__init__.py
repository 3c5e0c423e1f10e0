"""`vertice ca`: the folder of a certificate authority, and the requests about it to a registry."""
