"""The asker of a question, for fair turns: as much of it as cannot be forged or multiplied for nothing. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeAlias

from dns.rate_limit import network_of

Asker: TypeAlias = Hashable
"""A host, a network, a process of this machine, or an address and port of it."""


def asker_of(host: str, port: int | str, *, over_tcp: bool) -> Asker:
    """Return a socket of this machine, another host, or its network where the address may be forged.

    `port` may be a word instead: whose the connection is, where that is known.
    """
    if isinstance(port, str):
        return port
    if host.startswith("127.") or host == "::1":
        return host, port
    return host if over_tcp else network_of(host)
