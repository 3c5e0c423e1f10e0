"""The shapes of answers: records with their TTLs, and what is answered when there are none. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from dns import record_data
from dns.codec import Answer, Name, Query, Rcode, Record, Type
from registry_core.domain.freshness import Freshness, freshness_of
from registry_core.ports.local_view import LocalView

# Extended DNS Errors: RFC 8914 section 4.
STALE_ANSWER: Final = 3
NOT_READY: Final = 14
STALE_NXDOMAIN: Final = 19
# The longest TTL of a stale answer: clients should soon ask again.
STALE_TTL_S: Final = 5


class AnswerShapes:
    """Makes the answers of one zone. Their TTLs and errors depend on the age of the view."""

    def __init__(self, view: LocalView, apex: Name, *, ttl_s: int, negative_ttl_s: int) -> None:
        self._view = view
        self._apex = apex
        self._ttl_s = ttl_s
        self._negative_ttl_s = negative_ttl_s
        self.primary: Name = (b"ns", *apex)
        self.soa = record_data.soa_data(self.primary, (b"hostmaster", *apex), 1, negative_ttl_s)

    def of_types(self, query: Query, data: dict[Type, list[bytes]], zone: Name | None = None) -> Answer:
        """Return a name's records of the requested type; NODATA, with the SOA of `zone`, when there are none.

        ANY gets one RRset, the first (RFC 8482 section 4.1).
        """
        wanted = next((type_ for type_ in data if data[type_] and query.qtype in (type_, Type.ANY)), None)
        if wanted is None:
            return self.nothing(Rcode.NOERROR, zone)
        records = tuple(Record(None, wanted, self.ttl_s(), one) for one in data[wanted])
        return Answer(Rcode.NOERROR, answers=records, extended_error=self.age())

    def nothing(self, rcode: Rcode, zone: Name | None = None) -> Answer:
        """Return NODATA or NXDOMAIN, with the SOA (of our zone by default) that limits how long it is cached.

        Its TTL equals its MINIMUM, since resolvers use the smaller of the two (RFC 2308 section 5).
        """
        soa = Record(zone or self._apex, Type.SOA, self._lifetime_s(self._negative_ttl_s), self.soa)
        error = STALE_NXDOMAIN if rcode is Rcode.NXDOMAIN else STALE_ANSWER
        return Answer(rcode, authority=(soa,), extended_error=error if self._is_old() else None)

    def unknown(self, *, possible: bool = True) -> Answer:
        if not possible:
            return self.impossible()
        return self.nothing(Rcode.NXDOMAIN) if self._view.complete else cannot_tell()

    def impossible(self) -> Answer:
        """Return NXDOMAIN for a name that no registry accepts, which is certain at any age of the view."""
        return msgspec.structs.replace(self.nothing(Rcode.NXDOMAIN), extended_error=None)

    def _is_old(self) -> bool:
        return freshness_of(self._view.age_s()) is not Freshness.FRESH

    def age(self) -> int | None:
        return STALE_ANSWER if self._is_old() else None

    def ttl_s(self) -> int:
        return self._lifetime_s(self._ttl_s)

    def _lifetime_s(self, usual_s: int) -> int:
        return min(usual_s, STALE_TTL_S) if self._is_old() else usual_s


def cannot_tell() -> Answer:
    """Return the answer for a name of which it is unknown whether it exists."""
    return Answer(Rcode.SERVFAIL, authoritative=False, extended_error=NOT_READY)
