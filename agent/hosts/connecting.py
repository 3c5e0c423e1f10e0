"""Gives aiohttp the addresses of the servers that it connects to, from the address book."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from agent.hosts.book import AddressBook

_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
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
        found = [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for address in in_order_to_try(await self._book.find(host))
            if family in (socket.AF_UNSPEC, kind := _family(address))
        ]
        if not found:
            raise OSError(None, f"{host} has no address of this family")
        return found

    async def close(self) -> None:
        """Do nothing: the book belongs to the agent."""


def in_order_to_try(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return the addresses with those first to which this machine has a route (RFC 6724, rule 1)."""
    listed = tuple(addresses)
    return listed if len(listed) < 2 else tuple(sorted(listed, key=lambda address: not has_route(address)))


def has_route(address: str) -> bool:
    """Return whether this machine has a route to an address. Nothing is sent."""
    try:
        with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
            probe.connect((address, _DISCARD))
    except OSError:
        return False
    return True


def _family(address: str) -> socket.AddressFamily:
    return _FAMILIES[ipaddress.ip_address(address).version]
