"""Who may ask. It looks at the address alone: over UDP, the word of whoever sent the datagram."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

# A name server for one machine, unless told otherwise: an open one is a tool for attacks on others.
LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
# Addresses whose verdict is kept. Senders of datagrams choose their address, so they choose how many.
_MAX_KEPT: Final = 4096


class AllowedNetworks:
    """The networks whose addresses may ask."""

    def __init__(self, networks: Iterable[str] = LOOPBACK) -> None:
        """Raises ValueError for what is no network, such as `10.0.0.0/8`."""
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)
        self._admitted: dict[str, tuple[bool, bool]] = {}

    def admits(self, host: str) -> bool:
        """Return whether the IP address `host` may ask."""
        return self._verdict(host)[0]

    def is_local(self, host: str) -> bool:
        """Return whether `host` is loopback, and may ask: from there nobody forges, and nobody is flooded."""
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
        # A socket for both families shows IPv4 askers as ::ffff:a.b.c.d.
        asker = getattr(address, "ipv4_mapped", None) or address
        admitted = any(asker in network for network in self._networks)
        return admitted, admitted and asker.is_loopback
