"""Packets that a name server may receive, generated from a seed: the same ones each time.

Three kinds in turn: valid queries, which the mutants are based on; messages assembled from parts, each of which may be
wrong; and any of these, or of the corpus, truncated, bit-flipped, spliced and extended.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.wire.packets import CORPUS as KINDS

CORPUS_FOLDER: Final = Path(__file__).with_name("corpus")
ZONE: Final = (b"vertice", b"internal")
# The names of the queried fleet, and similar ones.
NAMES: Final[tuple[tuple[bytes, ...], ...]] = (
    *((first, *ZONE) for first in (b"ip-intel", b"ip_intel", b"ip-intel", b"large", b"large", b"syslog")),
    *((first, *ZONE) for first in (b"nobody", b"ns", b"_tcp", b"_udp")),
    *((b"_" + name, b"_tcp", *ZONE) for name in (b"ip-intel", b"ip_intel", b"large", b"large", b"syslog", b"nobody")),
    (b"_syslog", b"_udp", *ZONE),
    (b"canary", b"ip-intel", *ZONE),
    (b"blue", b"ip-intel", *ZONE),
    (b"_services", b"_dns-sd", b"_udp", *ZONE),
    (b"i-000000000000", *ZONE),
    (b"a", b"b", b"c", *ZONE),
    ZONE,
    (),
    (b"www", b"example", b"com"),
    (b"1", b"0", b"0", b"10", b"in-addr", b"arpa"),
)
TYPES: Final = (*(1, 28, 33, 16, 33) * 12, 1, 12, 6, 2, 255, 252, 251, 41, 5, 15, 64, 65, 249, 250, 13, 0, 65535)
CLASSES: Final = (*(1,) * 40, 3, 4, 254, 255, 0, 0x8001)
PAYLOADS: Final = (0, 1, 511, 512, 513, 1231, 1232, 1233, 1452, 4096, 65535)
OPTIONS: Final = (3, 5, 8, 9, 10, 11, 12, 15, 65001, 65535)
ODD_WORDS: Final = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xC000, 0xC00C, 0xC00D, 0xFFFE, 0xFFFF)
# The largest UDP payload: 65,535 octets without the headers of IP and UDP.
LARGEST_DATAGRAM: Final = 65507


def corpus() -> dict[str, bytes]:
    """Return the packets of the corpus folder by name. A file is hexadecimal, with remarks after `#`."""
    return {path.stem: read_hex(path.read_text(encoding="ascii")) for path in sorted(CORPUS_FOLDER.glob("*.hex"))}


def read_hex(text: str) -> bytes:
    """Return the packet in the text of a corpus file."""
    return bytes.fromhex(" ".join(line.partition("#")[0] for line in text.splitlines()))


class Mutants:
    """An endless sequence of packets, determined by `seed`."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seeds = [*corpus().values(), *KINDS]

    def packets(self, count: int) -> Iterator[bytes]:
        """Yield `count` packets: the corpus, then generated ones."""
        yield from self._seeds[:count]
        for _ in range(count - len(self._seeds)):
            yield self.packet()

    def packet(self) -> bytes:
        """Return the next packet."""
        match self._random.randrange(16):
            case 0 | 1 | 2 | 3 | 4:
                return self._question()
            case 5 | 6 | 7 | 8:
                return self._assembled()
            case 9:
                return self._random.randbytes(self._random.choice((2, 11, 12, 13, 17, 40, 511, 512, 513)))
            case 10 | 11:
                return self._mutated(self._random.choice(self._seeds))
            case 12 if self._random.randrange(200) == 0:
                packet = self._question()
                size = self._random.choice((4096, 4097, 9000, LARGEST_DATAGRAM))
                return packet + self._random.randbytes(size - len(packet))
            case _:
                return self._mutated(self._question())

    # -- valid queries

    def _question(self) -> bytes:
        choice = self._random.choice
        name = choice(NAMES)
        if self._random.randrange(2):
            name = tuple(self._cased(label) for label in name)
        with_edns = self._random.randrange(3)
        flags = choice((0x0100, 0x0100, 0, 0x0120, 0x0110))
        head = struct.pack("!HHHHHH", self._random.randrange(65536), flags, 1, 0, 0, 1 if with_edns else 0)
        question = _wire(name) + struct.pack("!HH", choice(TYPES), choice(CLASSES))
        return head + question + (self._opt() if with_edns else b"")

    def _cased(self, label: bytes) -> bytes:
        bits = self._random.getrandbits(len(label))
        return bytes(c ^ 0x20 if bits >> at & 1 and bytes((c,)).isalpha() else c for at, c in enumerate(label))

    def _opt(self) -> bytes:
        choice = self._random.choice
        options = b""
        for _ in range(choice((0, 0, 1, 3))):
            data = self._random.randbytes(choice((0, 4, 8, 24, 40)))
            options += struct.pack("!HH", choice(OPTIONS), len(data)) + data
        ttl = choice((0, 0, 0x8000, 0x8000, 0x10000, 0xFF000000, 0xFFFFFFFF))
        return b"\0" + struct.pack("!HHIH", 41, choice(PAYLOADS), ttl, len(options)) + options

    # -- messages of parts that may be wrong

    def _assembled(self) -> bytes:
        choice, chance = self._random.choice, self._random.randrange
        flags = chance(65536) if chance(4) == 0 else choice((0x0100, 0x8180, 0x2000, 0x2800, 0x0800, 0x0140))
        questions = choice((0, 1, 1, 1, 1, 2, 3))
        records = choice((0, 0, 1, 1, 2, 3))
        counts = [questions, 0, 0, 0]
        counts[choice((1, 2, 3, 3, 3))] = records
        if chance(8) == 0:
            counts[chance(4)] = choice(ODD_WORDS)
        parts = [struct.pack("!HHHHHH", chance(65536), flags, *counts)]
        parts += [self._name() + struct.pack("!HH", choice(TYPES), choice(CLASSES)) for _ in range(questions)]
        for _ in range(records):
            if chance(2):
                parts.append(self._opt())
            else:
                data = self._random.randbytes(choice((0, 1, 4, 16, 30)))
                length = len(data) if chance(4) else choice(ODD_WORDS)
                fixed = struct.pack("!HHIH", choice((41, 250, 24, *TYPES)), choice(CLASSES), chance(1 << 32), length)
                parts.append(self._name() + fixed + data)
        return b"".join(parts)

    def _name(self) -> bytes:
        """Return a name that is valid, or nearly so."""
        choice, chance = self._random.choice, self._random.randrange
        name = choice(NAMES)
        match chance(8):
            case 0:  # of the maximum length, or one octet more or less
                return (b"\x3f" + self._random.randbytes(63)) * 3 + _wire((b"a" * choice((60, 61, 62)),))
            case 1:  # a pointer: back, to itself, ahead, out of the packet; perhaps after some labels
                labels = _wire(name[: chance(3)])[:-1]
                return labels + struct.pack("!H", 0xC000 | choice((0, 2, 11, 12, 13, 12 + len(labels), 40, 0x3FFF)))
            case 2:  # arbitrary bytes
                return _wire((self._random.randbytes(choice((1, 12, 63))), *ZONE))
            case 3:  # undefined or obsolete label types
                return bytes((choice((0x40, 0x41, 0x80, 0xBF)),)) + self._random.randbytes(chance(20)) + b"\0"
            case 4:
                return _wire((b"a",) * choice((126, 127, 128)))
            case _:
                return _wire(name)

    # -- mutations

    def _mutated(self, seed: bytes) -> bytes:
        packet = bytearray(seed)
        for _ in range(self._random.choice((1, 1, 1, 2, 4))):
            self._mutate(packet)
        return bytes(packet[:LARGEST_DATAGRAM])

    def _mutate(self, packet: bytearray) -> None:
        chance = self._random.randrange
        at = chance(len(packet) + 1)
        match chance(9):
            case 0:
                del packet[at:]
            case 1:
                del packet[at : at + chance(1, 9)]
            case 2:
                packet[at:at] = self._random.randbytes(chance(1, 21))
            case 3:
                packet[at:at] = packet[at : at + chance(1, 40)] * chance(1, 5)
            case 4:
                packet[at:] = self._random.choice(self._seeds)[: chance(200)]
            case 5:
                packet[at : at + 2] = struct.pack("!H", self._random.choice(ODD_WORDS))
            case 6 if len(packet) >= 12:  # a wrong count
                field = self._random.choice((4, 6, 8, 10))
                packet[field : field + 2] = struct.pack("!H", self._random.choice(ODD_WORDS))
            case 7 if len(packet) > 12:  # after the header, where it is parsed
                packet[12 + chance(len(packet) - 12)] = chance(256)
            case _ if packet:
                packet[at - 1] ^= 1 << chance(8)
            case _:
                packet += self._random.randbytes(1)


def _wire(name: tuple[bytes, ...]) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in name) + b"\0"
