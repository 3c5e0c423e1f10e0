"""Replies of resolvers that are malformed, one for each kind of fault, and each in every section."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Final

from tests.foreign import name_in, reply_to

HEADER: Final = 12
# The question's name; and the name of the record itself, whose place is filled in.
ASKED: Final = b"\xc0\x0c"
ITSELF: Final = b"ITSELF"
LONG: Final = b"".join(b"\x3f" + letter * 63 for letter in (b"a", b"b", b"c", b"d"))

# What is wrong: the owner, the type and the data of a record.
FAULTS: Final[dict[str, tuple[bytes, int, bytes]]] = {
    "an owner that points at itself": (ITSELF, 1, b"abcd"),
    "an owner that points at its own label": (b"\1a" + ITSELF, 1, b"abcd"),
    "an owner that points forward": (b"\xc0\xff", 1, b"abcd"),
    "an owner that points out of the message": (b"\xff\xff", 1, b"abcd"),
    "an owner that points into the header": (b"\xc0\x04", 1, b"abcd"),
    "an owner of an undefined kind": (b"\x41a\0", 1, b"abcd"),
    "another owner of an undefined kind": (b"\x81a\0", 1, b"abcd"),
    "an owner that is too long": (LONG + b"\0", 1, b"abcd"),
    "an owner that is too long with what it points at": (LONG[:200] + ASKED, 1, b"abcd"),
    "an address that is too short": (ASKED, 1, b"abc"),
    "an address that is too long": (ASKED, 28, b"a" * 17),
    "no address": (ASKED, 1, b""),
    "an alias of itself by a pointer": (ASKED, 5, ITSELF),
    "an alias that is cut": (ASKED, 5, b"\3www"),
    "an alias with more behind it": (ASKED, 5, ASKED + b"x"),
    "a name server that points forward": (ASKED, 2, b"\xc0\xff"),
    "a mail server without a name": (ASKED, 15, b"\0\1"),
    "an SOA without its numbers": (ASKED, 6, ASKED + ASKED),
    "an SRV target that points forward": (ASKED, 33, bytes(6) + b"\xc0\xff"),
    "a DNAME that leads nowhere": (ASKED, 39, b"\xc0\xff"),
    "a text that is longer than its record": (ASKED, 16, b"\x09abc"),
    "a text without strings": (ASKED, 16, b""),
    "a NAPTR without a name": (ASKED, 35, bytes(4) + b"\0\0\0"),
}
SECTIONS: Final = ("answer", "authority", "additional")


def with_record(
    query: bytes, owner: bytes, type_: int, data: bytes, *, section: int = 0, class_: int = 1, ttl_s: int = 300
) -> bytes:
    """Return an honest answer to `query` with one address, and behind it another record in that section."""
    honest = reply_to(query, f"{name_in(query)} {ttl_s} IN A 192.0.2.1")
    counts = list(struct.unpack_from("!HHH", honest, 6))
    counts[section] += 1
    at = len(honest)
    owner = owner.replace(ITSELF, (0xC000 | at + owner.index(ITSELF)).to_bytes(2)) if ITSELF in owner else owner
    data = data.replace(ITSELF, (0xC000 | at + len(owner) + 10).to_bytes(2))
    record = owner + struct.pack("!HHIH", type_, class_, ttl_s, len(data)) + data
    return honest[:6] + struct.pack("!HHH", *counts) + honest[HEADER:] + record


def through_a_ttl(query: bytes) -> bytes:
    """Return an answer whose second owner is made of the first one's TTL, which changes as the answer ages."""
    ttl_s = 0x01610000  # the name a.
    found = with_record(query, ITSELF, 1, b"abcd", ttl_s=ttl_s)
    at = found.index(ttl_s.to_bytes(4))
    return found[:-16] + (0xC000 | at).to_bytes(2) + found[-14:]


def _honest(query: bytes) -> bytes:
    return reply_to(query, f"{name_in(query)} 300 IN A 192.0.2.1")


MALFORMED: Final[dict[str, Callable[[bytes], bytes]]] = {
    **{
        f"{fault}, in the {name}": partial(with_record, owner=owner, type_=type_, data=data, section=section)
        for fault, (owner, type_, data) in FAULTS.items()
        for section, name in enumerate(SECTIONS)
    },
    "an owner through a TTL": through_a_ttl,
    "a record of another class": partial(with_record, owner=ASKED, type_=1, data=b"abcd", class_=3),
    "an OPT record in the answer": partial(with_record, owner=b"\0", type_=41, data=b"", class_=1232),
    "an OPT record that is owned by a name": partial(
        with_record, owner=ASKED, type_=41, data=b"", section=2, class_=1232
    ),
    "a cut message": lambda query: _honest(query)[:-3],
    "a message that is cut after the question": lambda query: _honest(query)[:-16],
    "too many records": lambda query: _honest(query)[:6] + b"\xff\xff" + _honest(query)[8:],
    "one record more than there is": lambda query: _honest(query)[:11] + b"\1" + _honest(query)[12:],
    "a record that is longer than the message": lambda query: _honest(query)[:-6] + b"\xff\xff" + bytes(4),
}
