"""Deadlines of many keys with one timer."""

from __future__ import annotations

import asyncio

from registry_core.deadlines import Deadlines
from tests.programs import eventually


async def test_a_key_that_stays_is_told_and_one_that_stops_is_not() -> None:
    passed: list[str] = []
    deadlines = Deadlines(0.02, passed.append)
    for key in ("stays", "stops", "stays"):
        deadlines.start(key)
    deadlines.stop("stops")
    deadlines.stop("unknown")
    assert "stays" in deadlines
    await eventually(lambda: bool(passed), "its time has passed")
    assert (passed, len(deadlines)) == (["stays"], 0)


async def test_each_has_its_own_time_and_one_timer_does_for_all() -> None:
    passed: list[int] = []
    deadlines = Deadlines(0.03, passed.append)
    for key in range(5):
        deadlines.start(key)
        await asyncio.sleep(0.01)
    await eventually(lambda: len(passed) == 5, "their time has passed")
    assert passed == [0, 1, 2, 3, 4]


async def test_a_key_may_be_given_new_time_when_its_own_has_passed() -> None:
    passed: list[str] = []

    def again(key: str) -> None:
        passed.append(key)
        if len(passed) < 3:
            deadlines.start(key)

    deadlines = Deadlines(0.01, again)
    deadlines.start("x")
    deadlines.start("y")
    await eventually(lambda: len(passed) == 4, "their time has passed")
    assert sorted(set(passed)) == ["x", "y"]


async def test_nothing_passes_after_the_end() -> None:
    passed: list[str] = []
    deadlines = Deadlines(0.01, passed.append)
    deadlines.start("x")
    deadlines.close()
    deadlines.close()
    await asyncio.sleep(0.03)
    assert (passed, len(deadlines)) == ([], 0)
