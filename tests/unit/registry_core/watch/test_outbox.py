"""The outbox of one reader: in order, bounded, and a snapshot for one that is too slow."""

from __future__ import annotations

from collections.abc import Iterator

from registry_core.watch.feed import WatchFeed
from registry_core.watch.outbox import SHARED_BYTES, Outbox


def outbox(*opening: bytes, most_lines: int = 3) -> Outbox:
    def everything(reason: str) -> Iterator[bytes]:
        return iter([f"all:{reason}".encode(), b"sync"])

    feed = WatchFeed(most_lines, 10**6)
    feed.put(b"part of the opening")
    return Outbox(iter(opening), everything, feed)


def taken(box: Outbox, most_bytes: int = 1) -> list[bytes]:
    return list(iter(lambda: box.take(most_bytes), b""))


def test_the_opening_comes_before_later_events() -> None:
    box = outbox(b"a", b"b")
    box.feed.put(b"c")
    assert taken(box) == [b"a", b"b", b"c"]
    assert not box.waiting


def test_the_opening_can_be_taken_alone() -> None:
    box = outbox(b"a", b"b")
    box.feed.put(b"c")
    assert list(iter(lambda: box.take_opening(1), b"")) == [b"a", b"b"]
    assert box.opened
    assert box.waiting


def test_one_take_is_bounded() -> None:
    assert taken(outbox(b"aaa", b"bbb", b"ccc"), most_bytes=4) == [b"aaabbb", b"ccc"]


def test_a_reader_that_lacks_dropped_lines_gets_a_snapshot_that_includes_later_events() -> None:
    box = outbox(b"a", most_lines=2)
    owed = []
    for line in (b"b", b"c", b"d", b"e"):
        box.feed.put(line)
        owed.append(box.owes)
    assert owed == [None, None, "lagged", "lagged"]
    assert taken(box) == [b"a", b"all:lagged", b"sync"]
    box.feed.put(b"f")
    assert taken(box) == [b"f"]


def test_a_restart_drops_the_rest_of_the_opening_too() -> None:
    box = outbox(b"a", b"b")
    box.feed.put(b"c")
    assert box.take(1) == b"a"
    box.restart()
    assert taken(box) == [b"all:epoch", b"sync"]


def test_a_large_line_is_handed_out_as_it_is_and_in_order() -> None:
    """Copied into a batch, it would take its memory once for each reader."""
    large, other = b"L" * SHARED_BYTES, b"M" * SHARED_BYTES
    box = outbox(b"a", large, other, b"b")
    box.feed.put(b"c")
    found = taken(box, most_bytes=64 * 1024)
    assert found == [b"a", large, other, b"bc"]
    assert found[1] is large
    assert found[2] is other


def test_a_large_line_that_is_next_is_part_of_the_opening_and_dropped_with_it() -> None:
    large = b"L" * SHARED_BYTES
    box = outbox(b"a", large)
    assert box.take_opening(1000) == b"a"
    assert not box.opened
    assert box.waiting
    box.restart()
    assert taken(box) == [b"all:epoch", b"sync"]


def test_readers_of_one_feed_each_get_what_they_lack() -> None:
    early = outbox(b"a")
    early.feed.put(b"b")
    late = Outbox(iter([b"c"]), lambda _: iter(()), early.feed)
    early.feed.put(b"d")
    assert (taken(early), taken(late)) == ([b"a", b"b", b"d"], [b"c", b"d"])


def test_an_outbox_is_through_a_line_once_it_or_a_snapshot_after_it_was_handed_out() -> None:
    box = outbox(b"a")
    box.feed.put(b"b")
    number = box.feed.end
    assert [(box.take(1), box.is_through(number)) for _ in range(3)] == [(b"a", False), (b"b", True), (b"", True)]
    box.restart()
    assert not box.is_through(number)
    taken(box)
    assert box.is_through(number)
