"""The agent's snapshot as bytes: what is written is read back, and anything else is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.view import snapshot_file
from agent.view.snapshot_file import BadViewSnapshot, ViewSnapshot
from registry_core.domain.catalog import Catalog
from registry_core.domain.foreign_values import enum_value
from registry_core.domain.records import Instance, Protocol, Status
from registry_core.watch.cursor import parse_cursor
from tests.samples import instance, instances, lived


def saved(*held: Instance) -> ViewSnapshot:
    catalog = Catalog()
    catalog.merge(lived(i) for i in held)
    return ViewSnapshot(tuple(lived(i) for i in held), parse_cursor("0.abc.7"), catalog.digest, 1_764_000_000.5)


def encoded(*held: Instance) -> bytes:
    return b"".join(snapshot_file.encode(saved(*held)))


GOOD = encoded(instance("osint_service"), instance("geo", "10.0.0.2"))


@given(st.lists(instances(), max_size=5, unique_by=lambda i: i.key))
def test_a_written_snapshot_is_read_back(held: list[Instance]) -> None:
    assert snapshot_file.decode(encoded(*held)) == saved(*held)


def test_many_instances_are_written_in_parts() -> None:
    held = [instance(f"service-{n}", port=2000 + n) for n in range(1000)]
    assert len(list(snapshot_file.encode(saved(*held)))) > 3
    assert snapshot_file.decode(encoded(*held)) == saved(*held)


@given(st.integers(0, len(GOOD) - 1))
def test_a_truncated_file_is_refused(length: int) -> None:
    with pytest.raises(BadViewSnapshot):
        snapshot_file.decode(GOOD[:length])


@given(st.integers(GOOD.index(b"\n") + 1, len(GOOD) - 1), st.integers(1, 255))
def test_a_file_with_a_changed_byte_is_refused(at: int, change: int) -> None:
    bent = bytearray(GOOD)
    bent[at] ^= change
    with pytest.raises(BadViewSnapshot, match="changed after it was written"):
        snapshot_file.decode(bytes(bent))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_without_any_other_error(data: bytes) -> None:
    with pytest.raises(BadViewSnapshot):
        snapshot_file.decode(data)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "tarball"}, "it is not a snapshot of an agent"),
        ({"version": 2}, "it has version 2, but this agent supports version 1"),
        ({"count": 3}, "it should hold 3 instances, but holds 2"),
        ({"cursor": "x"}, "its content cannot be read"),
        ({"confirmed_at": "today"}, "its first line cannot be read"),
    ],
)
def test_the_error_names_the_fault(change: dict[str, object], said: str) -> None:
    first, _, body = GOOD.partition(b"\n")
    header = {**msgspec.json.decode(first), **change}
    with pytest.raises(BadViewSnapshot, match=said):
        snapshot_file.decode(msgspec.json.encode(header) + b"\n" + body)


def test_a_record_of_another_kind_is_refused() -> None:
    body = b'{"instance": 1}\n'
    first = msgspec.json.decode(GOOD.partition(b"\n")[0])
    checksum = snapshot_file.checksum_of([body])
    header = {**first, "count": 1, "bytes": len(body), "checksum": checksum}
    with pytest.raises(BadViewSnapshot, match="its content cannot be read"):
        snapshot_file.decode(msgspec.json.encode(header) + b"\n" + body)


def test_an_unknown_status_and_protocol_survive_a_restart() -> None:
    records = (
        instance(),
        instance(port=8035, status=enum_value(Status, "resting"), protocol=enum_value(Protocol, "quic")),
    )
    assert snapshot_file.decode(encoded(*records)) == saved(*records)
