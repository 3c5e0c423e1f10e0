"""Packs whole lines of the watch for readers that ask for it, and unpacks them within limits. Pure.

A packed line says how many octets follow its newline, and how many they were before: `octets` of the zlib format
(RFC 1950), not text, whose content is whole lines. The stream is a stream of lines otherwise, so a reader may join and
leave the packing line by line, and the packed octets are the same for every reader: they do not depend on what was
sent before, as those of a compressed connection would.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from registry_core.watch.limits import MAX_LINE_BYTES, PART_BYTES

# The reader asks for a packing in this header, by name, and the answer confirms it in the same one. It is not
# Accept-Encoding, which proxies on the way rewrite, or fulfil themselves.
PACKING_HEADER: Final = "X-Watch-Packing"
DEFLATE: Final = "deflate"
# The longest header that is read: a later release may offer several packings.
MAX_OFFERED: Final = 200
# Of the same records, level 1 makes 43 octets each, 6 makes 37, and 9 makes 35 for three times the time of 6.
_LEVEL: Final = 6


class PackedLine(msgspec.Struct, kw_only=True, tag="packed"):
    """Packed lines follow: `octets` of them, which become `plain` octets. Sent to readers that asked for packing."""

    octets: int
    plain: int


class NotUnpackable(ValueError):
    """Raised when packed octets do not become what their line said, or may not."""


_ENCODER: Final = msgspec.json.Encoder()


def asks_for_packing(header: str) -> bool:
    """Return whether a header with the names of packings, separated by commas, has the one that we know."""
    return DEFLATE in (name.strip().lower() for name in header[:MAX_OFFERED].split(","))


def packed(lines: bytes) -> bytes:
    """Return whole lines, of at most MAX_LINE_BYTES together, as one packed line with what follows it."""
    octets = zlib.compress(lines, _LEVEL)
    return _ENCODER.encode(PackedLine(octets=len(octets), plain=len(lines))) + b"\n" + octets


class PackedParts:
    """Lines packed part by part, when the first reader needs a part, and kept for the others."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines
        self._next = 0  # the number of the first line that is not packed yet
        self._parts: list[bytes] = []

    def __iter__(self) -> Iterator[bytes]:
        number = 0
        while number < len(self._parts) or self._pack():
            yield self._parts[number]
            number += 1

    def _pack(self) -> bool:
        part: list[bytes] = []
        size = 0
        while self._next < len(self._lines) and (not part or size + len(self._lines[self._next]) <= PART_BYTES):
            part.append(self._lines[self._next])
            size += len(part[-1])
            self._next += 1
        if part:
            self._parts.append(packed(b"".join(part)))
        return bool(part)


class Unpacking:
    """The octets that follow one packed line, as they arrive."""

    def __init__(self, line: PackedLine) -> None:
        """Raises NotUnpackable for a line that promises more than a line may have."""
        # What cannot be compressed grows a little: by 5 octets in each 16 KB, and 6 (RFC 1950, RFC 1951 section 3.2.4).
        if not (0 < line.plain <= MAX_LINE_BYTES and 0 < line.octets <= line.plain + line.plain // 1024 + 64):
            raise NotUnpackable(f"{line.octets} packed octets that become {line.plain}: more than {MAX_LINE_BYTES}")
        self._missing = line.octets
        self._plain = line.plain
        self._pieces: list[bytes] = []

    @property
    def is_complete(self) -> bool:
        """Whether all octets have arrived."""
        return not self._missing

    def take(self, data: bytes, at: int) -> int:
        """Take what belongs to it of `data`, from `at` on; return where the rest begins."""
        piece = data[at : at + self._missing]
        self._missing -= len(piece)
        self._pieces.append(piece)
        return at + len(piece)

    def lines(self) -> bytes:
        """Return the unpacked lines. Raises NotUnpackable, and never makes more octets than the line promised."""
        octets, self._pieces = b"".join(self._pieces), []
        unpacker = zlib.decompressobj()
        try:
            plain = unpacker.decompress(octets, self._plain + 1)
        except zlib.error:
            raise NotUnpackable("the packed octets are not of the zlib format, or damaged") from None
        if len(plain) != self._plain or not unpacker.eof or unpacker.unused_data:
            raise NotUnpackable(f"packed octets do not become the {self._plain} that were promised")
        if not plain.endswith(b"\n"):
            raise NotUnpackable("packed octets end within a line")
        return plain
