"""Floods of one line are thinned, whatever part of a program writes it."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from registry_core.telemetry.flood_filter import BURST, CAUSES, LEFT_OUT, LINES, FloodFilter
from registry_core.telemetry.log_thinning import TOLD_EVERY_S
from tests.samples import FakeClock


def record(event: object, level: int = logging.WARNING, error: Exception | None = None) -> logging.LogRecord:
    exc_info = (type(error), error, None) if error is not None else None
    return logging.LogRecord("asyncio", level, __file__, 1, event, None, exc_info)


def line(event: str = "refused", because: str = "no", **more: Any) -> logging.LogRecord:
    return record({"component": "agent", "event": event, "because": because, **more})


class Flood:
    """Passes records through one filter."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.filter = FloodFilter(self.clock)
        self.left_out = 0

    def passed(self, one: logging.LogRecord) -> bool:
        passes = self.filter.filter(one)
        self.left_out += getattr(one, LEFT_OUT, 0)
        return passes


@pytest.fixture
def flood() -> Flood:
    return Flood()


def test_of_a_flood_the_first_lines_pass_and_then_a_few_in_each_half_minute(flood: Flood) -> None:
    lines = 0
    for _ in range(960):
        lines += flood.passed(line())
        flood.clock.pass_time(0.0625)
    assert lines == 2 * BURST
    assert flood.left_out + lines == 480 + BURST, "each line says how many were left out before it"


def test_lines_that_differ_in_numbers_alone_are_one_flood(flood: Flood) -> None:
    assert sum(flood.passed(line(because=f"10.0.0.{n}:8034 refused after {n} ms")) for n in range(1000)) == BURST


def test_lines_of_another_event_or_cause_pass(flood: Flood) -> None:
    for _ in range(100):
        flood.passed(line())
    assert flood.passed(line(event="fenced"))
    assert flood.passed(line(because="a newer owner"))
    assert flood.passed(record({"component": "registry", "event": "refused", "because": "no"}))
    assert not flood.passed(line())


def test_lines_of_libraries_are_thinned_as_well(flood: Flood) -> None:
    errors = [record("Exception in callback %s", logging.ERROR, AssertionError()) for _ in range(100)]
    assert sum(map(flood.passed, errors)) == BURST
    assert flood.passed(record("Exception in callback %s", logging.ERROR, OSError()))


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_ordinary_events_are_no_flood(flood: Flood, level: int) -> None:
    assert all(flood.passed(record({"event": "registered"}, level)) for _ in range(1000))


def test_ever_new_causes_fill_neither_the_log_nor_the_memory(flood: Flood) -> None:
    assert sum(flood.passed(line(because=word)) for word in words(10_000)) <= CAUSES + BURST
    flood.clock.pass_time(TOLD_EVERY_S)
    assert flood.passed(line(because="something else"))


def test_threads_that_log_at_once_lose_no_line(flood: Flood) -> None:
    """Nothing may run between the steps of one count: here another thread tries to."""
    others: list[threading.Thread] = []
    count = flood.filter._ours.count

    def interrupted(event: str, cause: str, now: float) -> int | None:
        if not others:
            others.append(threading.Thread(target=flood.filter.filter, args=(line(),)))
            others[0].start()
            others[0].join(0.2)
            inside.append(others[0].is_alive())
        return count(event, cause, now)

    inside: list[bool] = []
    flood.filter._ours.count = interrupted  # type: ignore[method-assign] # to stop in the middle
    assert flood.passed(line())
    others[0].join()
    assert inside == [True], "the other thread waited for its turn"


def words(count: int) -> list[str]:
    return ["".join(chr(97 + (n // 26**i) % 26) for i in range(4)) for n in range(count)]


def test_a_flood_of_ever_new_causes_hides_no_other_event(flood: Flood) -> None:
    for word in words(5_000):
        flood.passed(line(because=word))
    assert all(flood.passed(line(event=f"event_{word}", because=word)) for word in words(100))


def test_a_flood_that_is_over_hides_nothing_later(flood: Flood) -> None:
    for word in words(LINES + 10):
        for _ in range(BURST + 2):
            flood.passed(line(event=word))
            flood.passed(record(f"library {word}"))
    flood.clock.pass_time(20 * TOLD_EVERY_S)
    later = [one for word in words(30) for one in (line(event=f"later_{word}"), record(f"later {word}"))]
    assert all(flood.passed(one) for one in later)


def test_the_words_of_libraries_cannot_hide_our_own_lines(flood: Flood) -> None:
    for word in words(5_000):
        flood.passed(record(f"library {word}"))
    assert all(flood.passed(line(event=f"event_{word}")) for word in words(100))
