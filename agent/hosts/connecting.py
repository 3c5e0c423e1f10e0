"""Gives aiohttp the addresses of the servers that it connects to, from the address book."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from agent.hosts.book import AddressBook
from registry_core.resolution import family_of, for_aiohttp

# Connecting a datagram socket sends nothing: any port will do.
_DISCARD: Final = 9


class BookResolver(AbstractResolver):
    """Resolves hosts for aiohttp's HTTP sessions."""

    def __init__(self, book: AddressBook) -> None:
        self._book = book

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host` and `port`, in the order to try. Raises OSError when there are none."""
        return for_aiohttp(host, in_order_to_try(await self._book.find(host)), port, family)

    async def close(self) -> None:
        """Do nothing: the book belongs to the agent."""


def in_order_to_try(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return the addresses with those first to which this machine has a route (RFC 6724, rule 1)."""
    listed = tuple(addresses)
    return listed if len(listed) < 2 else tuple(sorted(listed, key=lambda address: not has_route(address)))


def has_route(address: str) -> bool:
    """Return whether this machine has a route to an address. Nothing is sent."""
    try:
        with socket.socket(family_of(address), socket.SOCK_DGRAM) as probe:
            probe.connect((address, _DISCARD))
    except OSError:
        return False
    return True
