"""How many large answers may be unread at once, and whose connection goes when there are more."""

from __future__ import annotations

import pytest

from registry_core.api.unread import PATIENCE_S, UnreadAnswers
from registry_core.errors import Overloaded
from tests.samples import FakeClock


class Readers:
    """Readers of a replica that takes two unread answers."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.unread = UnreadAnswers(2, self.clock)
        self.closed: list[str] = []

    def waits(self, name: str) -> int:
        return self.unread.waits(lambda: self.closed.append(name))


def test_who_reads_takes_no_place() -> None:
    readers = Readers()
    for name in "abcdef":
        readers.unread.admit()
        readers.unread.was_read(readers.waits(name))
    assert (len(readers.unread), readers.closed) == (0, [])


def test_a_newcomer_is_refused_while_all_others_may_still_be_reading() -> None:
    readers = Readers()
    readers.waits("a")
    readers.waits("b")
    readers.clock.pass_time(PATIENCE_S - 0.1)
    with pytest.raises(Overloaded) as refused:
        readers.unread.admit()
    assert refused.value.retry_after_s > 0
    assert (readers.closed, readers.unread.refused) == ([], 1)


def test_the_one_that_has_not_read_for_the_longest_time_makes_room() -> None:
    readers = Readers()
    first = readers.waits("a")
    readers.waits("b")
    readers.clock.pass_time(PATIENCE_S / 2)
    readers.unread.was_read(first)
    readers.waits("a")
    readers.clock.pass_time(PATIENCE_S / 2)
    readers.unread.admit()
    assert readers.closed == ["b"]
    readers.waits("c")
    assert len(readers.unread) == 2
    with pytest.raises(Overloaded):
        readers.unread.admit()


def test_a_stream_that_is_open_already_may_be_one_too_many_for_a_while() -> None:
    readers = Readers()
    for name in "abc":
        readers.waits(name)
    assert (len(readers.unread), readers.closed) == (3, [])
    readers.clock.pass_time(PATIENCE_S)
    readers.waits("d")
    assert (len(readers.unread), readers.closed) == (3, ["a"])


def test_a_closed_reader_may_report_late() -> None:
    readers = Readers()
    number = readers.waits("a")
    readers.unread.was_read(number)
    readers.unread.was_read(number)
    assert len(readers.unread) == 0
