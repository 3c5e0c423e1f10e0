"""Names in messages: follows their compression pointers, and checks them (RFC 1035 section 4.1.4).

A pointer leads only to an earlier place, never into the header or into the fixed fields of a record, whose TTL
changes as an answer ages. So every name ends, and stays the same name in the answer to a client. Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

MAX_NAME: Final = 255  # octets on the wire, RFC 1035 section 2.3.4
MAX_LABEL: Final = 63
HEADER: Final = 12
# The type, class, TTL and length of a record.
FIXED_FIELDS: Final = 10
_POINTER: Final = 0xC0


class WireNames:
    """The names of one message, checked in the order of the message. Each octet is walked once."""

    __slots__ = ("_fields", "_lengths", "_message")

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._lengths: dict[int, int] = {}  # octets of the name from each label on
        self._fields: list[int] = []  # where the fixed fields of each record start

    def fields_at(self, at: int) -> None:
        """Note that the fixed fields of a record start at `at`, after those of every earlier record."""
        self._fields.append(at)

    def end(self, at: int) -> int | None:
        """Return the offset after the name at `at`, or None when it is malformed."""
        message = self._message
        end: int | None = None
        octets = 0
        walked: list[tuple[int, int]] = []
        before = at  # a pointer leads to a place before this
        while octets <= MAX_NAME:
            if end is not None and (known := self._lengths.get(at)) is not None:
                octets += known
                break
            if at >= len(message):
                return None
            length = message[at]
            walked.append((at, octets))
            if length >= _POINTER:
                target = int.from_bytes(message[at : at + 2]) & 0x3FFF
                end = at + 2 if end is None else end
                if at + 2 > len(message) or not HEADER <= target < before:
                    return None
                at = before = target
                continue
            if length > MAX_LABEL or at + 1 + length > len(message) or self._in_fields(at, at + 1 + length):
                return None
            octets += 1 + length
            at += 1 + length
            if not length:
                end = at if end is None else end
                break
        if octets > MAX_NAME:
            return None
        for start, earlier in walked:
            self._lengths[start] = octets - earlier
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
