"""Malformed packets: a corpus of the kinds that have broken name servers, and mutations of them."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from tests.wire.asking import ZONE, question

GOOD = question(f"ip-intel.{ZONE}", edns=1232)
_QUESTION = GOOD[12 : 12 + len(b"\x08ip-intel\x07vertice\x08internal\x00") + 4]
_OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def header(flags: int = 0x0100, qd: int = 1, an: int = 0, ns: int = 0, ar: int = 0) -> bytes:
    return struct.pack("!HHHHHH", 4711, flags, qd, an, ns, ar)


CORPUS: tuple[bytes, ...] = (
    b"",
    b"\0",
    b"\0" * 11,
    header(),
    header(qd=0),
    header(qd=2) + _QUESTION * 2,
    header(qd=65535, an=65535, ns=65535, ar=65535) + _QUESTION,
    header(flags=0x8180) + _QUESTION,  # an answer, sent as a query
    *(header(flags=opcode << 11) + _QUESTION for opcode in range(1, 16)),
    header() + b"\xc0\x0c\0\1\0\1",  # a name that points at itself
    header() + b"\xc0\x0e\xc0\x0c\0\1\0\1",  # two that point at each other
    header() + b"\xff\xff\0\1\0\1",
    header() + b"\x80abc\0\1\0\1",  # undefined label types
    header() + b"\x41abc\0\1\0\1",
    header() + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1",  # 257 octets
    header() + (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0\0\1\0\1",  # 255, which is allowed
    header() + b"\1a" * 127 + b"\0\0\1\0\1",
    header() + b"\1a" * 128 + b"\0\0\1\0\1",
    header() + b"\3abc",
    header() + b"\3abc\0\0\1",
    header() + b"\0\0\1\0\1",
    header() + _QUESTION + b"garbage",
    header(ar=1) + _QUESTION,
    header(ar=1) + _QUESTION + _OPT[:-1],
    header(ar=2) + _QUESTION + _OPT * 2,  # two OPT records
    header(an=1) + _QUESTION + _OPT,  # OPT in the wrong section
    header(ar=1) + _QUESTION + b"\3abc\0" + _OPT[1:],  # OPT with an owner name
    header(ar=1) + _QUESTION + _OPT[:-2] + b"\0\4\0\x0a\0\x08",  # an option longer than the record
    header(ar=1) + _QUESTION + _OPT[:-2] + b"\0\3\0\x0a\0",
    header(ar=1) + _QUESTION + _OPT[:-2] + b"\xff\xff",
    header(ar=1) + _QUESTION + _OPT[:-2] + b"\0\x0c\0\x0a\0\x08cookie!!",
    header(ar=1) + _QUESTION + _OPT[:-2] + b"\0\x1c\0\x0a\0\x18cookie!!" + b"\1\0\0\0" + b"\xff" * 12,
    header(ar=1) + _QUESTION + _OPT[:-2] + b"\0\x0b\0\x0a\0\x07cookie!",  # a cookie too short
    header(ar=1) + _QUESTION + _OPT[:-2] + b"\0\x04\0\x0b\0\0",
    header(qd=0, ar=1) + _OPT[:-2] + b"\0\x0c\0\x0a\0\x08cookie!!",  # a cookie and no question
    header(ar=1) + _QUESTION + b"\xc0\xff\0\1\0\1\0\0\0\0\0\4abcd",
    header() + _QUESTION[:-4] + b"\0\0\0\0",
    header() + _QUESTION[:-4] + b"\xff\xff\xff\xff",
    b"\xff" * 512,
    b"\xc0\x0c" * 256,
    GOOD * 40,
)


def malformed(count: int, seed: int) -> Iterator[bytes]:
    """Yield `count` packets: the corpus, then truncated, bit-flipped, spliced and random ones."""
    source = random.Random(seed)
    yield from CORPUS[:count]
    for _ in range(count - len(CORPUS)):
        packet = bytearray(source.choice((GOOD, *CORPUS)))
        match source.randrange(5):
            case 0:
                del packet[source.randrange(len(packet) + 1) :]
            case 1 if packet:
                for _ in range(source.randint(1, 8)):
                    packet[source.randrange(len(packet))] = source.randrange(256)
            case 2:
                packet[source.randrange(len(packet) + 1) :] = source.choice(CORPUS)
            case 3:
                packet = bytearray(source.randbytes(source.randrange(600)))
            case _:
                at = source.randrange(len(packet) + 1)
                packet[at:at] = source.randbytes(source.randrange(20))
        yield bytes(packet)
