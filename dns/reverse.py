"""Reverse names: maps `7.0.0.10.in-addr.arpa` to its address (RFC 1035, RFC 3596)."""

from __future__ import annotations

import ipaddress
from typing import Final

from dns.codec import Name

_V4: Final = (b"in-addr", b"arpa")
_V6: Final = (b"ip6", b"arpa")
_NIBBLES: Final = frozenset(b"0123456789abcdef")


def address_of(name: Name) -> str | None:
    """Return the IP address, in canonical form, of a reverse name in lower case, or None.

    None: the name is above or below those of single addresses (a network's), or not in canonical form.
    """
    match name[-2:]:
        case parent if parent == _V4:
            return _v4(name[:-2])
        case parent if parent == _V6:
            return _v6(name[:-2])
        case _:
            return None


def _v4(labels: Name) -> str | None:
    if not all(label.isdigit() for label in labels):
        return None
    try:
        return str(ipaddress.IPv4Address(b".".join(reversed(labels)).decode()))
    except ValueError:  # not four octets; 256; 01
        return None


def _v6(labels: Name) -> str | None:
    if len(labels) != 32 or not all(len(label) == 1 and label[0] in _NIBBLES for label in labels):
        return None
    return ipaddress.IPv6Address(bytes.fromhex(b"".join(reversed(labels)).decode())).compressed
