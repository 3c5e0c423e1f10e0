"""Reverse names: maps `7.0.0.10.in-addr.arpa` to its address (RFC 1035, RFC 3596), and says whose names come first.

A registered address may have a name in the network's own reverse zone, which others rely on (Kerberos, logs). Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

import msgspec

from dns.codec import Name
from registry_core.domain.names import unmapped
from registry_core.domain.networks import IpNetwork, network_of

_V4: Final = (b"in-addr", b"arpa")
_V6: Final = (b"ip6", b"arpa")
_NIBBLES: Final = frozenset(b"0123456789abcdef")
_FALLBACK: Final = "fallback"
_WORDS: Final = {_FALLBACK: (), "all": ("0.0.0.0/0", "::/0"), "none": ()}


class ReverseNames(msgspec.Struct, frozen=True):
    """Which registered addresses lead to their services.

    Those in `networks` do at once. With `fallback`, the others do when the resolvers know no name for them, or when
    there are no resolvers; without it they are foreign names. Addresses of loopback never do: they are localhost on
    every machine.
    """

    networks: tuple[str, ...] = ()
    fallback: bool = True

    def __str__(self) -> str:
        words = (
            word for word, networks in _WORDS.items() if (networks, word == _FALLBACK) == (self.networks, self.fallback)
        )
        return next(words, ",".join(self.networks))

    def at_once(self, *, asks_resolvers: bool) -> tuple[IpNetwork, ...]:
        """Return the networks of the addresses that lead to their services without a question to resolvers."""
        own = _WORDS["all"] if self.fallback and not asks_resolvers else self.networks
        return tuple(map(network_of, own))


def read_reverse_names(text: str) -> ReverseNames:
    """Read `fallback`, `all`, `none`, or networks. Raises ValueError, with the reason, for anything else."""
    word = text.strip().lower()
    if word in _WORDS:
        return ReverseNames(_WORDS[word], fallback=word == _FALLBACK)
    networks: list[str] = []
    for item in filter(None, map(str.strip, text.split(","))):
        try:
            networks.append(str(network_of(item)))
        except ValueError as error:
            raise ValueError(f"{item!r} is neither fallback, all or none, nor a network: {error}") from None
    if not networks:
        raise ValueError("it is empty")
    return ReverseNames(tuple(dict.fromkeys(networks)), fallback=False)


def may_lead_to_services(ip: str, networks: Iterable[IpNetwork] | None = None) -> bool:
    """Return whether the address is not loopback, and lies in one of `networks` if they are given."""
    address = ipaddress.ip_address(ip)
    return not address.is_loopback and (networks is None or any(address in network for network in networks))


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
    return unmapped(ipaddress.IPv6Address(bytes.fromhex(b"".join(reversed(labels)).decode()))).compressed
