"""What a lookup of a host name finds, and what is known of the name afterwards. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from registry_core.domain.names import ip_address

# For answers that tell none.
ANY_TTL_S: Final = 3600.0


class FoundAddresses(msgspec.Struct, frozen=True):
    """The addresses of one name by family; None where nobody has answered, and empty where there are none."""

    ipv4: tuple[str, ...] | None = None
    ipv6: tuple[str, ...] | None = None
    ttl_s: float = ANY_TTL_S

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses, IPv6 first as RFC 6724 prefers it."""
        return (*(self.ipv6 or ()), *(self.ipv4 or ()))

    @property
    def is_whole(self) -> bool:
        """Whether both families have been answered, so that no address means that the name has none."""
        return self.ipv4 is not None and self.ipv6 is not None


UNANSWERED: Final = FoundAddresses()
NO_ADDRESSES: Final = FoundAddresses((), (), 0.0)


def by_family(addresses: Iterable[str]) -> FoundAddresses:
    """Return an answer of both families from a mixed list; what is not an address is left out."""
    ipv4, ipv6 = list[str](), list[str]()
    for address in dict.fromkeys(addresses):
        parsed = ip_address(address)
        if parsed is not None:
            (ipv4 if parsed.version == 4 else ipv6).append(str(parsed))
    return FoundAddresses(tuple(dict.fromkeys(ipv4)), tuple(dict.fromkeys(ipv6)))


def merged(known: FoundAddresses, found: FoundAddresses) -> FoundAddresses:
    """Return what is known after a lookup: a family that nobody answered keeps its last addresses."""
    return FoundAddresses(
        known.ipv4 if found.ipv4 is None else found.ipv4,
        known.ipv6 if found.ipv6 is None else found.ipv6,
        found.ttl_s,
    )
