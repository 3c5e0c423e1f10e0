"""The lines that many readers share: numbered, bounded, and dropped once all have them."""

from __future__ import annotations

import pytest

from registry_core.watch.feed import WatchFeed


def filled(*lines: bytes, most_lines: int = 100, most_bytes: int = 1000) -> WatchFeed:
    feed = WatchFeed(most_lines, most_bytes)
    for line in lines:
        feed.put(line)
    return feed


def test_lines_keep_their_numbers_while_older_ones_are_dropped() -> None:
    feed = filled(b"a", b"b", b"c", most_lines=2)
    assert (feed.start, feed.end) == (1, 3)
    assert [feed.line(number) for number in (1, 2)] == [b"b", b"c"]


def test_a_feed_is_bounded_in_bytes_but_keeps_the_last_line_whatever_its_size() -> None:
    feed = filled(b"aaaa", b"bbbb", b"cc", most_bytes=6)
    assert (feed.start, feed.end) == (1, 3)
    feed.put(b"d" * 100)
    assert (feed.start, feed.end) == (3, 4)


def test_lines_that_all_have_are_forgotten() -> None:
    feed = filled(b"a", b"b", b"c")
    feed.forget(2)
    feed.forget(1)
    assert (feed.start, feed.end) == (2, 3)
    feed.forget(100)
    assert (feed.start, feed.end) == (3, 3)
    feed.put(b"d")
    assert feed.line(3) == b"d"


@pytest.mark.parametrize(
    ("number", "end", "most_bytes", "expected"),
    [
        (0, 4, 100, (4, b"abbcccd")),
        (1, 4, 100, (4, b"bbcccd")),
        (1, 3, 100, (3, b"bbccc")),
        (0, 4, 3, (2, b"abb")),
        (0, 4, 5, (2, b"abb")),
        (2, 4, 1, (3, b"ccc")),  # one line at least
        (3, 4, 100, (4, b"d")),
    ],
)
def test_a_batch_has_as_many_lines_as_fit(number: int, end: int, most_bytes: int, expected: tuple[int, bytes]) -> None:
    assert filled(b"a", b"bb", b"ccc", b"d").batch(number, end, most_bytes) == expected
