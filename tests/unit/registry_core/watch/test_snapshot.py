"""A snapshot as lines: split by bytes, and encoded once for all readers."""

from __future__ import annotations

from zlib import crc32

import msgspec
import pytest

from registry_core.domain.catalog import Lived
from registry_core.domain.events import Position
from registry_core.domain.records import InstanceKey
from registry_core.watch import snapshot as module
from registry_core.watch.cursor import cursor_of
from registry_core.watch.limits import MAX_LINE_BYTES, MAX_RECORD_BYTES, PART_BYTES
from registry_core.watch.lines import SnapshotLine
from registry_core.watch.snapshot import SharedSnapshot
from tests.samples import instance, lived

CURSOR = cursor_of([Position(0, "e1", 7)])
DECODER = msgspec.json.Decoder(SnapshotLine)


class Shared:
    """A snapshot, and the records that it reported as too large."""

    def __init__(self, *instances: Lived, part_bytes: int = PART_BYTES, most_bytes: int = MAX_RECORD_BYTES) -> None:
        self.too_large: list[tuple[InstanceKey, int]] = []
        self.snapshot = SharedSnapshot(
            instances,
            state="ready",
            cursor=CURSOR,
            digest="d",
            too_large=lambda key, size: self.too_large.append((key, size)),
            part_bytes=part_bytes,
            most_bytes=most_bytes,
        )

    def read(self, reason: str = "start") -> list[SnapshotLine]:
        return [DECODER.decode(line) for line in self.snapshot.lines(reason)]


def fleet(count: int, filler: int = 0) -> list[Lived]:
    return [lived(instance(port=1024 + n, metadata={"filler": "x" * filler})) for n in range(count)]


def test_a_small_or_empty_snapshot_is_one_line() -> None:
    (line,) = Shared(*fleet(3)).read("behind")
    assert (line.reason, line.first, line.last, line.cursor, line.digest) == ("behind", True, True, str(CURSOR), "d")
    assert list(line.instances) == fleet(3)
    (line,) = Shared().read()
    assert (line.first, line.last, line.cursor, line.instances) == (True, True, str(CURSOR), ())


def test_parts_are_split_by_bytes_and_together_hold_everything() -> None:
    instances = fleet(2000, filler=300)
    lines = Shared(*instances).read()
    assert [one for line in lines for one in line.instances] == instances
    assert [line.first for line in lines] == [True, *[False] * (len(lines) - 1)]
    assert [line.last for line in lines] == [*[False] * (len(lines) - 1), True]
    assert [line.cursor != "" for line in lines] == [line.last for line in lines]
    sizes = [len(line) for line in Shared(*instances).snapshot.lines("start")]
    assert max(sizes) < PART_BYTES + MAX_RECORD_BYTES < MAX_LINE_BYTES


def test_eighty_records_of_the_previous_releases_maximum_size_fit_into_readable_lines() -> None:
    instances = [lived(instance(port=1024 + n, version="1.0.0-" + "x" * 60_000)) for n in range(80)]
    shared = Shared(*instances)
    assert max(len(line) for line in shared.snapshot.lines("start")) < MAX_LINE_BYTES // 10
    assert [one for line in shared.read() for one in line.instances] == instances
    assert shared.too_large == []


def test_readers_share_the_encoded_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = 0

    def counted(one: Lived) -> bytes:
        nonlocal encoded
        encoded += 1
        return msgspec.json.encode(one)

    monkeypatch.setattr(module, "encoded_record", counted)
    shared = Shared(*fleet(50), part_bytes=1000)
    first, second = shared.snapshot.lines("start"), shared.snapshot.lines("lagged")
    begun = next(first)
    assert encoded < 50, "only one part is encoded before it is needed"
    there = [*second]
    rest = [begun, *first]
    assert encoded == 50
    assert [DECODER.decode(line).instances for line in rest] == [DECODER.decode(line).instances for line in there]
    assert {DECODER.decode(line).reason for line in there} == {"lagged"}


def test_a_record_too_large_for_a_line_is_left_out_and_reported() -> None:
    small, large = lived(instance()), lived(instance("billing", metadata={"filler": "x" * 500}))
    shared = Shared(large, small, large, most_bytes=500)
    assert [one for line in shared.read() for one in line.instances] == [small]
    assert {key.label for key, _ in shared.too_large} == {"billing"}
    assert min(size for _, size in shared.too_large) > 500
    (line,) = Shared(large, most_bytes=500).read()
    assert (line.last, line.instances) == (True, ())


def test_readers_for_the_same_reason_share_the_very_bytes() -> None:
    """4,000 readers that do not read would otherwise hold 4,000 copies."""
    shared = Shared(*fleet(50), part_bytes=1000)
    first, second = list(shared.snapshot.lines("start")), list(shared.snapshot.lines("start"))
    assert all(one is other for one, other in zip(first, second, strict=True))


def test_a_packed_instance_takes_few_octets() -> None:
    """Records as they are: each with its own address, id, commit, time and epoch. A plain one takes some 400."""
    records = [
        lived(
            instance(
                f"fleet-service-{n // 10}",
                f"10.0.{n // 250}.{n % 250 + 1}",
                instance_id=f"instance-{n}",
                metadata={"team": "osint", "commit": f"{crc32(b'%d' % n):08x}"},
                epoch=1_764_000_000_000 + n * 7919,
            )
        )
        for n in range(10_000)
    ]
    packed = Shared(*records).snapshot.lines("start", is_packed=True)
    assert sum(map(len, packed)) / len(records) <= 60
