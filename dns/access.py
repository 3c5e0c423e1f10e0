"""Decides which clients may query, by address alone. Over UDP, the sender may have forged that address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from registry_core.domain.names import unmapped
from registry_core.domain.networks import network_of

# The default serves one machine: an open name server is a tool for attacks on others.
LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
# How many verdicts are cached. The bound matters: senders of datagrams can forge any number of addresses.
_MAX_KEPT: Final = 4096


class AllowedNetworks:
    """The networks that may query."""

    def __init__(self, networks: Iterable[str] = LOOPBACK) -> None:
        """Raises ValueError for an item that is not a network, such as `10.0.0.0/8`."""
        self._networks = tuple(map(network_of, networks))
        self._admitted: dict[str, tuple[bool, bool]] = {}

    def admits(self, host: str) -> bool:
        """Return whether the IP address `host` may query."""
        return self._verdict(host)[0]

    def is_local(self, host: str) -> bool:
        """Return whether `host` is loopback and may query: loopback addresses are not forged and need no rate limit."""
        return self._verdict(host)[1]

    def _verdict(self, host: str) -> tuple[bool, bool]:
        verdict = self._admitted.get(host)
        if verdict is None:
            if len(self._admitted) >= _MAX_KEPT:
                self._admitted.clear()
            verdict = self._admitted[host] = self._judge(host)
        return verdict

    def _judge(self, host: str) -> tuple[bool, bool]:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False, False
        asker = unmapped(address)
        admitted = any(asker in network for network in self._networks)
        return admitted, admitted and asker.is_loopback
