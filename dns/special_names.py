"""Names with a fixed meaning, for which no resolver is asked: RFC 6761, 7686, 9476.

`localhost.` and names below it mean this machine, and so do the reverse names of its addresses; `invalid.`,
`onion.` and `alt.` do not exist in DNS. `test.` and `local.` are forwarded: where a site uses them, its own resolver
knows them. A rule for one of these names takes precedence. A rule may also deny names that have no fixed meaning, but
none above a name that exists: NXDOMAIN means that nothing is below, either (RFC 8020). Pure.
"""

from __future__ import annotations

from typing import Final

from dns import record_data
from dns.codec import Answer, Name, Query, Rcode, Record, Type

TTL_S: Final = 600
# A denial is this agent's alone, and ends with its configuration.
DENIED_TTL_S: Final = 5
_NOT_AUTHORITATIVE: Final = 20  # RFC 8914 section 4.21
_NOBODY: Final = (b"nobody", b"invalid")
_LOCALHOST: Final = (b"localhost",)
_ADDRESSES: Final = {Type.A: b"\x7f\0\0\1", Type.AAAA: bytes(15) + b"\1"}
_ABSENT: Final = frozenset((b"invalid", b"onion", b"alt"))
_REVERSE_4: Final = (b"127", b"in-addr", b"arpa")
_REVERSE_6: Final = (b"1", *((b"0",) * 31), b"ip6", b"arpa")
_LOOPBACK_4: Final = (b"1", b"0", b"0", *_REVERSE_4)
_ABOVE_SPECIAL: Final = frozenset(name[at:] for name in (_REVERSE_4, _REVERSE_6) for at in range(1, len(name) + 1))


def special(query: Query, name: Name) -> Answer | None:
    """Return the answer to a special name (`name` is the query's, in lower case), or None for any other."""
    if not name:
        return None
    if name[-1:] == _LOCALHOST:
        return _of(query, name[-1:], _ADDRESSES)
    if name[-1] in _ABSENT:
        return Answer(Rcode.NXDOMAIN, authoritative=False, authority=(_soa(name[-1:]),))
    if name in (_REVERSE_6, _LOOPBACK_4):
        return _of(query, name, {Type.PTR: record_data.name_data(_LOCALHOST)})
    if name[-3:] == _REVERSE_4:
        if name == _LOOPBACK_4[-len(name) :]:
            return _of(query, _REVERSE_4, {})  # a name with another one below it exists: RFC 8020
        return Answer(Rcode.NXDOMAIN, authoritative=False, authority=(_soa(_REVERSE_4),))
    return None


def is_above_special(name: Name) -> bool:
    """Return whether names below `name`, which is in lower case, are reverse names of this machine."""
    return name in _ABOVE_SPECIAL


def denied(suffix: Name, *, exists: bool) -> Answer:
    """Return the answer to a name below `suffix`, where no name exists by this agent's configuration.

    `exists` is whether one below it does all the same: then it has no records.
    """
    soa = Record(suffix, Type.SOA, DENIED_TTL_S, record_data.soa_data(_LOCALHOST, _NOBODY, 1, DENIED_TTL_S))
    rcode = Rcode.NOERROR if exists else Rcode.NXDOMAIN
    return Answer(rcode, authoritative=False, authority=(soa,), extended_error=_NOT_AUTHORITATIVE)


def _of(query: Query, zone: Name, data: dict[Type, bytes]) -> Answer:
    for type_, one in data.items():
        if query.qtype in (type_, Type.ANY):  # one RRset: RFC 8482 section 4.1
            return Answer(Rcode.NOERROR, authoritative=False, answers=(Record(None, type_, TTL_S, one),))
    return Answer(Rcode.NOERROR, authoritative=False, authority=(_soa(zone),))


def _soa(zone: Name) -> Record:
    return Record(zone, Type.SOA, TTL_S, record_data.soa_data(_LOCALHOST, _NOBODY, 1, TTL_S))
