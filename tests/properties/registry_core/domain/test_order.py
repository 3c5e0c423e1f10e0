"""The writes of several owners, each sent once or more, delivered in any order: the newest accepted one stands."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from registry_core.domain.order import LastWrite, Ruling, ruled, taken


class Sent(NamedTuple):
    epoch: int
    sequence: int
    removal: bool


@st.composite
def deliveries(draw: st.DrawFn) -> list[Sent]:
    """Return the writes of up to three owners as they arrive: out of order, some repeated, some never."""
    sent = [
        Sent(epoch, sequence, draw(st.booleans()))
        for epoch in range(draw(st.integers(1, 3)))
        for sequence in range(draw(st.integers(1, 6)))
    ]
    return draw(st.lists(st.sampled_from(sent), max_size=25))


@given(deliveries())
def test_the_newest_acknowledged_write_stands(arriving: list[Sent]) -> None:
    last: LastWrite | None = None
    acknowledged: set[Sent] = set()
    for write in arriving:
        before = last
        ruling = ruled(last, write.epoch, write.sequence, removal=write.removal)
        match ruling:
            case Ruling.TAKEN:
                last = taken(last, write.epoch, write.sequence, removal=write.removal)
                acknowledged.add(write)
            case Ruling.REPEATED:
                assert write in acknowledged, "only an accepted write is acknowledged again"
            case Ruling.LATE | Ruling.FENCED:
                assert any((a.epoch, a.sequence) > (write.epoch, write.sequence) for a in acknowledged)
        assert last is before or ruling is Ruling.TAKEN
        newest = max(acknowledged, key=lambda a: (a.epoch, a.sequence))
        assert last == LastWrite(newest.epoch, newest.sequence, newest.removal)


@given(deliveries(), st.lists(st.booleans(), min_size=25, max_size=25))
def test_writes_without_a_sequence_never_validate_a_late_one(arriving: list[Sent], unnumbered: list[bool]) -> None:
    last: LastWrite | None = None
    newest = (-1, -1)
    for write, without in zip(arriving, unnumbered, strict=False):
        sequence = None if without else write.sequence
        if ruled(last, write.epoch, sequence, removal=write.removal) is not Ruling.TAKEN:
            continue
        if sequence is not None:
            assert (write.epoch, sequence) > newest
            newest = (write.epoch, sequence)
        last = taken(last, write.epoch, sequence, removal=write.removal)
