"""Networks of IP addresses: reads them from text, and names the network that one client is known by."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final, TypeAlias

from registry_core.domain.names import ip_address

IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# IPv4-mapped IPv6 addresses: RFC 4291 section 2.5.5.2.
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
# A site of one client gets a /64 at least, and may use any address in it (RFC 6177).
CLIENT_PREFIX: Final = 64


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


@lru_cache(maxsize=4096)
def client_network(address: str) -> str:
    """Return what limits count `address` under: an IPv4 address itself, the /64 of an IPv6 address.

    What is not an address stands for itself.
    """
    found = ip_address(address.partition("%")[0])
    if found is None:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(ipaddress.IPv6Network((int(found), CLIENT_PREFIX), strict=False))
