"""A HAProxy in front of one service that depends on the agent's DNS alone: no checks of its own, no request retried."""

from __future__ import annotations

from typing import Final

HAPROXY_OVER_DNS: Final = """
global
    log stderr format raw local0 notice
defaults
    mode http
    retries 0
    timeout connect 2s
    timeout client 10s
    timeout server 10s
    default-server init-addr none
resolvers vertice
    nameserver agent 127.0.0.1:{dns}
    accepted_payload_size 1232
    timeout resolve 500ms
    timeout retry 500ms
    hold valid 500ms
frontend clients
    bind 127.0.0.1:{front}
    default_backend trackers
backend trackers
    balance roundrobin
    server-template srv 5 _{service}._tcp.vertice.internal resolvers vertice resolve-prefer ipv4
"""
