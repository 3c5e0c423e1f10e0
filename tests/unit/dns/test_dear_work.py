"""The budget of what answers need: at once, in turn, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from dns.dear_work import CHEAP_US, LIGHT_US, DearWork, WorkLimits
from tests.samples import FakeClock

DEAR = 10_000
LIMITS = WorkLimits(share=0.5, burst_us=20_000, turn_us=1_000, waiting=8, waiting_us=200_000)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def work(clock: FakeClock) -> DearWork:
    made = DearWork(clock, LIMITS, LIMITS)
    made.share_loop()
    return made


def use_up(work: DearWork, clock: FakeClock, cost_us: int = DEAR) -> None:
    """Do work at once for as long as it is admitted."""
    for _ in range(100):
        if not work.admits(cost_us):
            return
        work.done(clock.monotonic(), cost_us)
    raise AssertionError("it admits everything")


def noted(done: list[str], word: str) -> Callable[[], str]:
    """Return work that notes that it is done, and returns `word`."""

    def work() -> str:
        done.append(word)
        return word

    return work


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_work_is_admitted_up_to_its_share(work: DearWork, clock: FakeClock) -> None:
    use_up(work, clock)
    assert not work.admits(DEAR)
    clock.pass_time(0.1)  # half of it is for dear work
    assert work.admits(DEAR)


def test_dear_work_leaves_light_work_its_own_share(work: DearWork, clock: FakeClock) -> None:
    use_up(work, clock)
    assert work.admits(CHEAP_US)
    use_up(work, clock, LIGHT_US)
    assert not work.admits(CHEAP_US)


def test_a_loop_with_nothing_else_to_do_has_no_budget(clock: FakeClock) -> None:
    work = DearWork(clock, LIMITS, LIMITS)
    for _ in range(100):
        assert work.admits(DEAR)
        work.done(clock.monotonic(), DEAR)


def test_the_measured_time_is_what_counts(work: DearWork, clock: FakeClock) -> None:
    began = clock.monotonic()
    clock.pass_time(10.0)
    work.done(began, DEAR)
    assert not work.admits(DEAR), "ten seconds of work"
    clock.pass_time(1.0)
    assert work.admits(DEAR), "but the debt is bounded"


def test_dear_work_within_light_work_is_charged_once(work: DearWork, clock: FakeClock) -> None:
    began = clock.monotonic()
    clock.pass_time(0.04)
    work.done_within(began, DEAR)
    work.done(began, CHEAP_US)
    assert work.admits(CHEAP_US)
    assert not work.admits(DEAR)


async def test_work_waits_for_its_turn_and_is_done(work: DearWork, clock: FakeClock) -> None:
    use_up(work, clock)
    done = [work.later("a", DEAR, lambda n=n: n) for n in range(2)]  # type: ignore[misc]  # mypy cannot infer a default
    assert work.waiting == 2
    await turns()
    assert work.waiting == 2, "no time has passed"
    clock.pass_time(1.0)
    assert await asyncio.wait_for(asyncio.gather(*done), 10) == [0, 1]


async def test_light_work_is_done_while_dear_work_waits(work: DearWork, clock: FakeClock) -> None:
    use_up(work, clock)
    dear = work.later("a", DEAR, lambda: "dear")
    light = work.later("a", CHEAP_US, lambda: "light")
    await turns()
    assert (light.done(), dear.done()) == (True, False)


async def test_what_has_waited_for_too_long_is_not_done(work: DearWork, clock: FakeClock) -> None:
    use_up(work, clock)
    done: list[str] = []
    silent = work.later("a", DEAR, noted(done, "silent"))
    told = work.later("a", DEAR, noted(done, "told"), lambda: "too late")
    clock.pass_time(LIMITS.patience_s + 0.1)
    assert await asyncio.wait_for(told, 10) == "too late"
    assert silent.cancelled()
    assert (done, work.late) == ([], 2)


async def test_what_has_no_room_is_not_done(work: DearWork, clock: FakeClock) -> None:
    use_up(work, clock)
    done = [work.later("greedy", DEAR, lambda: "done", lambda: "no room") for _ in range(LIMITS.waiting + 3)]
    assert not work.has_room("greedy", DEAR)
    await turns()
    assert [one.result() for one in done if one.done()] == ["no room"] * 3
    assert work.shed == 4
    assert work.has_room("modest", DEAR)
    clock.pass_time(1.0)
    assert await asyncio.wait_for(done[0], 10) == "done"


async def test_work_may_end_later_or_fail(work: DearWork) -> None:
    loop = asyncio.get_running_loop()
    ends: asyncio.Future[str] = loop.create_future()
    never: asyncio.Future[str] = loop.create_future()

    def fails() -> str:
        raise RuntimeError

    later: asyncio.Future[str] = work.later("a", CHEAP_US, lambda: ends)
    cancelled: asyncio.Future[str] = work.later("a", CHEAP_US, lambda: never)
    failed = work.later("a", CHEAP_US, fails)
    after = work.later("a", CHEAP_US, lambda: "goes on")
    with capture_logs() as logs:
        await turns()
    assert [entry["event"] for entry in logs] == ["dear_work_failed"]
    ends.set_result("later")
    never.cancel()
    await turns()
    assert (later.result(), cancelled.cancelled(), failed.cancelled(), after.result()) == (
        "later",
        True,
        True,
        "goes on",
    )


async def test_work_that_nobody_waits_for_any_more_is_not_done(work: DearWork, clock: FakeClock) -> None:
    use_up(work, clock)
    done: list[str] = []
    left = work.later("a", DEAR, noted(done, "left"))
    stays = work.later("a", DEAR, lambda: "stays")
    left.cancel()
    clock.pass_time(1.0)
    assert await asyncio.wait_for(stays, 10) == "stays"
    assert done == []


async def test_work_in_turn_is_none_when_it_found_none(work: DearWork, clock: FakeClock) -> None:
    use_up(work, clock)
    waiting = asyncio.create_task(work.in_turn("a", DEAR, lambda: "done"))
    await turns()
    clock.pass_time(LIMITS.patience_s + 0.1)
    assert await asyncio.wait_for(waiting, 10) is None
    clock.pass_time(1.0)
    assert await asyncio.wait_for(work.in_turn("a", DEAR, lambda: "done"), 10) == "done"


async def test_work_that_only_begins_is_charged_for_what_follows(work: DearWork, clock: FakeClock) -> None:
    for number in range(8):
        work.later(number, LIGHT_US, lambda: True, only_begins=True)
    await turns()
    assert work.waiting == 0
    use_up(work, clock, LIGHT_US)
    assert not work.admits(LIGHT_US)
