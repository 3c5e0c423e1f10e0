"""A follower acknowledges a drain when its own readers know of it, and never one that some of them do not know."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from registry_core.domain.events import Position
from registry_core.follow.acknowledging import MAX_AT_ONCE, before, to_acknowledge
from registry_core.watch.cursor import Cursor, cursor_of


def at(*revisions: int, epoch: str = "e") -> Cursor:
    """Return the cursor with these revisions, one a shard."""
    return cursor_of(Position(shard, epoch, revision) for shard, revision in enumerate(revisions))


def one(shard: int, revision: int) -> Cursor:
    return cursor_of([Position(shard, "e", revision)])


def test_a_known_drain_is_acknowledged_and_once_is_enough() -> None:
    assert to_acknowledge(at(9), Cursor(), [("a", at(5))], lambda *_: True) == at(9)
    assert to_acknowledge(at(9), at(9), [("a", at(5))], lambda *_: True) is None
    assert to_acknowledge(at(9), Cursor(), [], lambda *_: True) is None


def test_a_drain_that_readers_do_not_know_waits_and_holds_up_later_ones_alone() -> None:
    drains = [("early", at(3)), ("slow", at(5)), ("late", at(7))]
    assert to_acknowledge(at(9), Cursor(), drains, lambda label, _: label != "slow") == at(4)
    assert to_acknowledge(at(9), at(4), drains, lambda label, _: label != "slow") is None
    assert to_acknowledge(at(9), at(4), drains, lambda *_: True) == at(9)


def test_a_shard_does_not_wait_for_another() -> None:
    drains = [("slow", one(0, 5)), ("quick", one(1, 7))]
    assert to_acknowledge(at(9, 9), Cursor(), drains, lambda label, _: label == "quick") == at(4, 9)


def test_a_drain_of_the_very_first_revision_can_wait() -> None:
    assert before(at(9), [at(0)]) == Cursor()


def test_a_drain_in_another_history_holds_nothing_up() -> None:
    assert before(at(9), [at(5, epoch="f")]) == at(9)


def test_drains_beyond_those_of_one_turn_wait_for_the_next() -> None:
    drains = [("a", at(number)) for number in range(1, MAX_AT_ONCE + 10)]
    first = to_acknowledge(at(999), Cursor(), drains, lambda *_: True)
    assert first == at(MAX_AT_ONCE)
    assert to_acknowledge(at(999), first, drains, lambda *_: True) == at(999)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 20), st.booleans()), max_size=20),
    st.lists(st.integers(20, 30), min_size=3, max_size=3),
)
def test_no_unknown_drain_is_ever_covered(drains: list[tuple[int, int, bool]], applied: list[int]) -> None:
    known = {(shard, revision) for shard, revision, is_known in drains if is_known}
    known -= {(shard, revision) for shard, revision, is_known in drains if not is_known}

    def is_known(_label: str, said_at: Cursor) -> bool:
        (place,) = said_at.positions
        return (place.shard, place.revision) in known

    cursor = to_acknowledge(at(*applied), Cursor(), [("a", one(s, r)) for s, r, _ in drains], is_known)
    if cursor is not None:
        assert at(*applied).covers(cursor)
        assert all((s, r) in known for s, r, _ in drains if cursor.covers(one(s, r)))
