"""Tells which client a request comes from when proxies stand in between, by what they report in headers. Pure.

Anybody can send `X-Forwarded-For`. A proxy appends the address that it was asked from, so the list is read from the
right: addresses of trusted proxies are skipped, and the first other one is the client. What stands to the left of it
was written by the client itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from registry_core.domain.host_port import split_host_port
from registry_core.domain.names import canonical_ip, ip_address
from registry_core.domain.networks import client_network, network_of

# Proxies in a row that are trusted. More than that is a loop, or an attack.
MAX_HOPS: Final = 16
# The longest text of one hop: an IPv6 address with brackets, quotes, zone and port.
_MAX_HOP_LENGTH: Final = 80
# Peers whose verdict is kept.
_MAX_PEERS: Final = 4096


class ForwardedHeader(StrEnum):
    """The header in which the trusted proxies report whom they forward for; the other one is never read."""

    X_FORWARDED_FOR = "x-forwarded-for"
    FORWARDED = "forwarded"  # RFC 7239


class RequestOrigin(NamedTuple):
    """Where a request comes from: the client's address, and what limits count it under.

    `limited_as` is empty for what has no limits by address: loopback, and a proxy's own requests.
    """

    address: str
    limited_as: str


class TrustedProxies:
    """The proxies that are believed, and the header that they set."""

    def __init__(self, networks: Iterable[str] = (), header: ForwardedHeader = ForwardedHeader.X_FORWARDED_FOR) -> None:
        """Raises ValueError for an item of `networks` that is not a network."""
        self._networks = tuple(map(network_of, networks))
        self.header = header
        self._is_trusted = lru_cache(maxsize=_MAX_PEERS)(self._judge)

    def trusts(self, address: str) -> bool:
        """Return whether `address` is that of a trusted proxy."""
        return bool(self._networks) and self._is_trusted(address)

    def origin(self, peer: str, lines: Iterable[str]) -> RequestOrigin:
        """Return where a request comes from whose connection is from `peer`, with these lines of the header.

        When a trusted proxy names nobody, the request is its own. When what it names is not an address (`unknown`,
        garbage), all such requests of that proxy count together.
        """
        peer = _canonical(peer)
        if not self.trusts(peer):
            return self.direct(peer)
        hops = _hops(lines, self.header)
        nearest = peer
        for _ in range(MAX_HOPS):
            hop = next(hops, None)
            if hop is None:
                # All of them are proxies: the farthest one asks for itself.
                return RequestOrigin(nearest, "")
            address = _address_of(hop)
            if address is None:
                return RequestOrigin(nearest, f"{nearest} for unknown")
            nearest = address
            if not self.trusts(address):
                break
        return RequestOrigin(nearest, client_network(nearest))

    @staticmethod
    @lru_cache(maxsize=_MAX_PEERS)
    def direct(peer: str) -> RequestOrigin:
        """Return where a request comes from whose connection is from `peer`, which is no trusted proxy."""
        peer = _canonical(peer)
        return RequestOrigin(peer, "" if _is_loopback(peer) else client_network(peer))

    def _judge(self, address: str) -> bool:
        found = ip_address(address.partition("%")[0])
        return found is not None and any(found in network for network in self._networks)


def _canonical(peer: str) -> str:
    return canonical_ip(peer.partition("%")[0]) or peer


def _is_loopback(peer: str) -> bool:
    if peer.startswith("127."):
        return True
    found = ip_address(peer)
    return found is not None and found.is_loopback


def _hops(lines: Iterable[str], header: ForwardedHeader) -> Iterator[str]:
    """Yield the hops, the nearest first: several lines of a header are one list (RFC 9110 section 5.3)."""
    for line in reversed(tuple(lines)):
        rest = line
        while rest:
            rest, _, hop = rest.rpartition(",")
            if header is ForwardedHeader.X_FORWARDED_FOR:
                yield hop.strip()
            else:
                yield _for_of(hop)


def _for_of(element: str) -> str:
    """Return the value of `for=` in an element of `Forwarded`; empty when there is none.

    A quoted comma or semicolon cannot be part of an address: an element that is cut there is none, and ends the walk.
    """
    for pair in element.split(";"):
        name, _, value = pair.strip().partition("=")
        if name.lower() == "for":
            return value.strip('"')
    return ""


def _address_of(hop: str) -> str | None:
    """Return the IP address of a hop, whatever form proxies give it; None when it is none."""
    if len(hop) > _MAX_HOP_LENGTH:
        return None
    hop = hop.strip('"')
    address = canonical_ip(hop.partition("%")[0])  # an IPv6 address may come without brackets when it has no port
    if address is not None:
        return address
    try:
        host, _ = split_host_port(hop)
    except ValueError:
        return None
    return canonical_ip(host.partition("%")[0])
