"""Certificates for the agent's services: keys and requests, files that readers find consistent, renewal in time."""
