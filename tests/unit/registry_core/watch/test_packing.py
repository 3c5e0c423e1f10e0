"""Packed lines: what a reader gets of them, however they are cut, and what it refuses."""

from __future__ import annotations

import tracemalloc
import zlib

import msgspec
import pytest

from registry_core.domain.events import Position
from registry_core.watch.changes import Replaced
from registry_core.watch.cursor import Cursor, cursor_of
from registry_core.watch.limits import MAX_LINE_BYTES, PART_BYTES
from registry_core.watch.lines import snapshot_line
from registry_core.watch.packing import (
    NotUnpackable,
    PackedLine,
    PackedParts,
    Unpacking,
    asks_for_packing,
    packed,
)
from registry_core.watch.reader import BrokenPacking, WatchReader
from registry_core.watch.snapshot import SharedSnapshot
from tests.samples import instance, lived

CURSOR = cursor_of([Position(0, "e1", 7)])
FLEET = tuple(lived(instance(port=1024 + n, metadata={"filler": f"{n:0500}"})) for n in range(900))
DECODER = msgspec.json.Decoder(PackedLine)


def stream() -> bytes:
    """Return a packed snapshot of several parts."""
    whole = SharedSnapshot(FLEET, state="ready", cursor=CURSOR, digest="d", too_large=lambda _key, _size: None)
    return b"".join(whole.lines("behind", is_packed=True))


def unpacked(data: bytes) -> bytes:
    line, _, octets = data.partition(b"\n")
    unpacking = Unpacking(DECODER.decode(line))
    assert unpacking.take(octets, 0) == len(octets)
    assert unpacking.is_complete
    return unpacking.lines()


@pytest.mark.parametrize("size", [1, 7, 1000, 65_536, 10_000_000])
def test_packed_parts_are_read_however_they_are_cut(size: int) -> None:
    reader, sent = WatchReader(Cursor()), stream()
    changes = [change for at in range(0, len(sent), size) for change in reader.feed(sent[at : at + size])]
    (read,) = changes
    assert isinstance(read, Replaced)
    assert (read.instances, read.cursor, read.digest, read.state) == (FLEET, CURSOR, "d", "ready")
    assert (read.reason, read.whole) == ("behind", True)


def test_plain_lines_go_on_after_packed_ones() -> None:
    reader = WatchReader(Cursor())
    again = snapshot_line(b"[]", reason="epoch", first=True, last=True, state="ready", cursor=CURSOR, digest="e")
    changes = list(reader.feed(stream() + b"\n" + again))
    assert [change.digest for change in changes if isinstance(change, Replaced)] == ["d", "e"]


def test_what_cannot_be_compressed_is_packed_all_the_same() -> None:
    noise = b"".join(zlib.crc32(b"%d" % n).to_bytes(4, "big") for n in range(100_000)).replace(b"\n", b" ") + b"\n"
    assert unpacked(packed(noise)) == noise
    assert unpacked(packed(b"\n")) == b"\n"


@pytest.mark.parametrize(
    "line",
    [
        PackedLine(octets=10, plain=MAX_LINE_BYTES + 1),
        PackedLine(octets=2 * MAX_LINE_BYTES, plain=MAX_LINE_BYTES),
        PackedLine(octets=10_000, plain=5),
        PackedLine(octets=0, plain=5),
        PackedLine(octets=5, plain=0),
        PackedLine(octets=-5, plain=-5),
    ],
)
def test_impossible_lengths_are_refused_before_anything_is_taken(line: PackedLine) -> None:
    with pytest.raises(NotUnpackable):
        Unpacking(line)
    with pytest.raises(BrokenPacking):
        list(WatchReader(Cursor()).feed(msgspec.json.encode(line) + b"\n"))


def test_octets_that_become_more_than_promised_are_refused_without_making_them() -> None:
    bomb = zlib.compress(b"x" * 200_000_000, 9)
    unpacking = Unpacking(PackedLine(octets=len(bomb), plain=1_000_000))
    unpacking.take(bomb, 0)
    tracemalloc.start()
    try:
        with pytest.raises(NotUnpackable):
            unpacking.lines()
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("octets", "plain"),
    [
        (zlib.compress(b"{}\n"), 4),
        (zlib.compress(b"{}\n")[:-1], 3),
        (zlib.compress(b"{}\n") + b"x", 3),
        (zlib.compress(b"{}"), 2),
        (zlib.compress(b"{}\n")[:-2] + b"xx", 3),
        (b"no packed octets", 16),
    ],
    ids=["short", "cut", "more follows", "within a line", "checksum", "format"],
)
def test_octets_that_are_not_what_was_promised_break_the_stream(octets: bytes, plain: int) -> None:
    sent = msgspec.json.encode(PackedLine(octets=len(octets), plain=plain)) + b"\n" + octets
    with pytest.raises(BrokenPacking):
        list(WatchReader(Cursor()).feed(sent))


def test_packed_lines_do_not_stand_within_packed_lines() -> None:
    with pytest.raises(BrokenPacking):
        list(WatchReader(Cursor()).feed(packed(packed(b"{}\n") + b"\n")))


def test_a_packed_line_whose_length_cannot_be_read_breaks_the_stream() -> None:
    with pytest.raises(BrokenPacking):
        list(WatchReader(Cursor()).feed(b'{"type":"packed","octets":"many","plain":1}\n'))


def test_missed_lines_are_packed_once_for_all_who_need_them() -> None:
    lines = [b'{"type":"later","filler":"' + b"x" * 1000 + b'"}\n' for _ in range(400)]
    parts = PackedParts(lines)
    first, second = list(parts), list(parts)
    assert [one is other for one, other in zip(first, second, strict=True)] == [True] * len(first)
    assert len(first) == -(-400 // (PART_BYTES // len(lines[0])))
    assert b"".join(map(unpacked, first)) == b"".join(lines)
    assert list(PackedParts([])) == []


@pytest.mark.parametrize(
    ("header", "asks"),
    [("deflate", True), ("zstd, Deflate", True), ("", False), ("deflated", False), ("x" * 300 + ",deflate", False)],
)
def test_a_reader_asks_for_a_packing_by_its_name(header: str, asks: bool) -> None:
    assert asks_for_packing(header) is asks
