"""Decides which clients may query, by address alone. Over UDP, the sender may have forged that address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final, TypeAlias

from registry_core.domain.names import unmapped

# The default serves one machine: an open name server is a tool for attacks on others.
LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
# How many verdicts are cached. The bound matters: senders of datagrams can forge any number of addresses.
_MAX_KEPT: Final = 4096
# IPv4-mapped IPv6 addresses: RFC 4291 section 2.5.5.2.
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")

IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def network_of(text: str) -> IpNetwork:
    """Return the network, that of IPv4-mapped IPv6 addresses as IPv4. Raises ValueError when `text` is none."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not a network such as 10.0.0.0/8") from None
    if "/" in text and ipaddress.ip_address(text.partition("/")[0]) != network.network_address:
        raise ValueError(f"{text!r} is an address within the network {network}; write that")
    if network.version == 6 and network.subnet_of(_MAPPED):
        return ipaddress.ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - _MAPPED.prefixlen))
    return network


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
