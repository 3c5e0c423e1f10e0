"""Names in messages: follows their compression pointers, and checks them (RFC 1035 section 4.1.4).

A pointer leads only to an earlier place, never into the header or into the fixed fields of a record, whose TTL
changes as an answer ages. So every name ends, and stays the same name in the answer to a client. Nor may pointers lead
from one to the next without end: a chain of thousands would be followed anew for each record that points at it. Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from dns.name_limits import MAX_LABEL, MAX_NAME

HEADER: Final = 12
# The type, class, TTL and length of a record.
FIXED_FIELDS: Final = 10
_POINTER: Final = 0xC0
# A name of 255 octets has at most so many labels, and a sender has no use for more pointers than labels.
MAX_POINTERS: Final = 127


class WireNames:
    """The names of one message, checked in the order of the message. Each octet is walked once."""

    __slots__ = ("_fields", "_message", "_rests")

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._rests: dict[int, tuple[int, int]] = {}  # octets and pointers of the name from each label or pointer on
        self._fields: list[int] = []  # where the fixed fields of each record start

    def fields_at(self, at: int) -> None:
        """Note that the fixed fields of a record start at `at`, after those of every earlier record."""
        self._fields.append(at)

    def end(self, at: int) -> int | None:
        """Return the offset after the name at `at`, or None when it is malformed."""
        message = self._message
        if at + 1 < len(message) and message[at] >= _POINTER:
            # Most names of a large message: a pointer to one that was checked before.
            target = (message[at] & 0x3F) << 8 | message[at + 1]
            known = self._rests.get(target)
            if known is not None and target < at and known[1] < MAX_POINTERS:
                self._rests[at] = known[0], known[1] + 1
                return at + 2
        end: int | None = None
        octets = pointers = 0
        walked: list[tuple[int, int, int]] = []
        before = at  # a pointer leads to a place before this
        while octets <= MAX_NAME and pointers <= MAX_POINTERS:
            if end is not None and (known := self._rests.get(at)) is not None:
                octets, pointers = octets + known[0], pointers + known[1]
                break
            if at >= len(message):
                return None
            length = message[at]
            walked.append((at, octets, pointers))
            if length >= _POINTER:
                target = int.from_bytes(message[at : at + 2]) & 0x3FFF
                end = at + 2 if end is None else end
                if at + 2 > len(message) or not HEADER <= target < before:
                    return None
                at = before = target
                pointers += 1
                continue
            if length > MAX_LABEL or at + 1 + length > len(message) or self._in_fields(at, at + 1 + length):
                return None
            octets += 1 + length
            at += 1 + length
            if not length:
                end = at if end is None else end
                break
        if octets > MAX_NAME or pointers > MAX_POINTERS:
            return None
        for start, earlier_octets, earlier_pointers in walked:
            self._rests[start] = octets - earlier_octets, pointers - earlier_pointers
        return end

    def _in_fields(self, start: int, end: int) -> bool:
        number = bisect_left(self._fields, end)
        return number > 0 and self._fields[number - 1] + FIXED_FIELDS > start


def name_at(message: bytes, at: int) -> bytes:
    """Return the name at `at`, which has been checked, uncompressed and in lower case."""
    name = bytearray()
    while length := message[at]:
        if length >= _POINTER:
            at = int.from_bytes(message[at : at + 2]) & 0x3FFF
        else:
            name += message[at : at + 1 + length]
            at += 1 + length
    # Length octets are below those of letters.
    return bytes(name).lower() + b"\0"


def is_below(name: bytes, zone: bytes) -> bool:
    """Return whether `name` is `zone` or a name below it. Both are uncompressed and in lower case."""
    at = 0
    while len(name) - at > len(zone):
        at += 1 + name[at]
    return name[at:] == zone
