"""Background work: what dies is restarted after growing waits, visibly, and ends in time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from registry_core.supervision import (
    RESTART_FIRST_S,
    RESTART_MOST_S,
    SETTLED_S,
    Background,
    BackgroundReport,
    end,
    until_first,
)
from registry_core.telemetry.log_thinning import TOLD_EVERY_S
from tests.samples import FakeClock


class Waits:
    """Replaces the wait before a restart: it passes at once, on the clock as well."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.waits: list[float] = []
        self.most = 10_000  # then it waits for ever

    async def __call__(self, seconds: float) -> None:
        if len(self.waits) >= self.most:
            await asyncio.Event().wait()
        self.waits.append(seconds)
        self.clock.pass_time(seconds)
        await asyncio.sleep(0)


class Loop:
    """Background work with a script: one behaviour per life."""

    def __init__(self, *lives: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.lives = 0
        self._lives = lives

    async def __call__(self) -> None:
        self.lives += 1
        await self._lives[min(self.lives, len(self._lives)) - 1]()


async def dies() -> None:
    raise LookupError("it is broken")


async def lasts() -> None:
    await asyncio.Event().wait()


async def returns() -> None:
    """Do nothing, and return."""


async def waits_for_what_is_cancelled() -> None:
    other: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(other.cancel)
    await other


async def dies_in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(dies())
        group.create_task(lasts())


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Let tracebacks be recorded but not printed, which would read source files."""
    with capture_logs():
        yield


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def waits(clock: FakeClock) -> Waits:
    return Waits(clock)


@pytest_asyncio.fixture
async def background(clock: FakeClock, waits: Waits) -> AsyncIterator[Background]:
    background = Background(clock, sleep=waits)
    yield background
    await background.close()


async def turns(count: int = 100) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_running_loop_is_left_alone(background: Background) -> None:
    loop = Loop(lasts)
    background.keep("sync", loop)
    await turns()
    assert loop.lives == 1
    assert background.report() == [BackgroundReport(task="sync", failures=0, restarts=0, down=False, problem="")]


@pytest.mark.parametrize(
    ("death", "problem"),
    [
        (dies, "LookupError: it is broken"),
        (returns, "Returned: it ended by itself"),
        (waits_for_what_is_cancelled, "CancelledError: something it awaited was cancelled"),
        (dies_in_a_group, "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)"),
    ],
)
async def test_a_loop_that_dies_is_restarted(
    background: Background, death: Callable[[], Coroutine[Any, Any, None]], problem: str
) -> None:
    loop = Loop(death, death, lasts)
    task = background.keep("sync", loop)
    with capture_logs() as logs:
        await turns()
    assert loop.lives == 3
    assert background.report() == [BackgroundReport(task="sync", failures=2, restarts=2, down=False, problem=problem)]
    (line,) = logs
    assert (line["event"], line["task"], line["because"]) == ("background_task_died", "sync", problem)
    assert line["exc_info"] is not None, "with the traceback"
    assert not task.done()


async def test_work_that_cannot_even_be_called_counts_as_a_death(background: Background, waits: Waits) -> None:
    def breaks() -> Coroutine[Any, Any, None]:
        raise TypeError("it lacks an argument")

    waits.most = 3
    background.keep("sync", breaks)
    await turns()
    assert background.report()[0].failures == 4


async def test_a_loop_that_may_end_is_not_restarted(background: Background) -> None:
    loop = Loop(dies, returns)
    task = background.keep("namespace", loop, ends=True)
    await turns()
    assert task.done()
    assert (loop.lives, background.report()[0].restarts) == (2, 1)


async def test_work_that_keeps_dying_is_restarted_with_growing_waits(background: Background, waits: Waits) -> None:
    waits.most = 20
    loop = Loop(dies)
    background.keep("sync", loop)
    with capture_logs() as logs:
        await turns(1000)
    assert loop.lives == 21
    assert waits.waits[:4] == [RESTART_FIRST_S * 2**n for n in range(4)]
    assert waits.waits[-10:] == [RESTART_MOST_S] * 10
    assert [log["exc_info"] is not None for log in logs] == [True, *[False] * (len(logs) - 1)], "the traceback once"
    lasted_s = sum(waits.waits)
    assert 2 <= len(logs) <= 1 + lasted_s / TOLD_EVERY_S
    assert background.report()[0].down


async def test_work_that_ran_well_for_long_is_restarted_soon(
    background: Background, clock: FakeClock, waits: Waits
) -> None:
    async def dies_late() -> None:
        clock.pass_time(SETTLED_S)
        await dies()

    background.keep("sync", Loop(dies, dies, dies, dies_late, lasts))
    await turns()
    assert waits.waits == [RESTART_FIRST_S * times for times in (1, 2, 4, 1)]


async def test_the_longest_wait_can_be_set(background: Background, waits: Waits) -> None:
    waits.most = 10
    background.keep("watch", Loop(dies), most_s=0.5)
    await turns(500)
    assert max(waits.waits) == 0.5


async def test_each_cause_is_logged_and_ever_new_causes_do_not_flood_the_log(
    background: Background, waits: Waits
) -> None:
    waits.most = 300
    numbers = iter(range(1000))

    async def dies_of_a_number() -> None:
        raise LookupError(f"number {next(numbers)}")

    background.keep("sync", dies_of_a_number, most_s=0.1)
    with capture_logs() as logs:
        await turns(5000)
    assert len(waits.waits) == 300
    assert len(logs) < 25
    assert sum(log["exc_info"] is not None for log in logs) == 8


async def test_a_failing_log_ends_nothing(background: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk:
        def error(self, *_: object, **__: object) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("registry_core.supervision._log", FullDisk())
    loop = Loop(dies, dies, lasts)
    background.keep("sync", loop)
    await turns()
    assert (loop.lives, background.report()[0].restarts) == (3, 2)


async def test_the_work_of_one_name_is_counted_together(background: Background) -> None:
    for _ in range(3):
        background.keep("checks", Loop(dies, lasts))
    await turns()
    assert [(one.task, one.restarts) for one in background.report()] == [("checks", 3)]


async def test_a_loop_cancelled_by_its_owner_is_not_restarted(background: Background) -> None:
    loop = Loop(lasts)
    task = background.keep("checks", loop)
    await turns()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await turns()
    assert (loop.lives, background.report()[0].failures) == (1, 0)


async def test_one_shot_work_is_not_restarted_and_its_death_is_counted(background: Background) -> None:
    loop = Loop(dies)
    with capture_logs() as logs:
        await background.begin("load", loop)
    assert loop.lives == 1
    assert background.report()[0].failures == 1
    assert [(log["event"], log["again_in_s"]) for log in logs] == [("background_task_died", None)]
    await background.begin("load", waits_for_what_is_cancelled)
    assert background.report()[0].failures == 2
    await background.begin("load", returns)
    assert background.report()[0].failures == 2


async def test_work_cancelled_before_its_start_leaves_nothing(background: Background) -> None:
    background.begin("load", dies).cancel()
    background.keep("sync", dies).cancel()
    await turns()
    assert [one.failures for one in background.report()] == [0, 0]


async def test_closing_ends_everything_including_pending_restarts(clock: FakeClock, waits: Waits) -> None:
    waits.most = 0
    background = Background(clock, sleep=waits)
    ended: list[str] = []

    async def tidies_up() -> None:
        try:
            await lasts()
        finally:
            ended.append("loop")

    dead, alive, once = Loop(dies), background.keep("alive", tidies_up), background.begin("once", lasts)
    waiting = background.keep("dead", dead)
    await turns()
    await background.close()
    assert ended == ["loop"]
    assert all(task.done() for task in (alive, once, waiting))
    assert dead.lives == 1
    await background.close()


async def test_a_loop_that_fails_during_its_cancellation_is_not_restarted(background: Background) -> None:
    async def breaks_at_the_end() -> None:
        try:
            await lasts()
        finally:
            raise LookupError("it cannot even end")

    loop = Loop(breaks_at_the_end)
    background.keep("sync", loop)
    await turns()
    with capture_logs() as logs:
        await background.close()
    assert (loop.lives, logs) == (1, [])


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again(background: Background) -> None:
    async def loses_the_first() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await lasts()
        await lasts()

    task = background.keep("sync", loses_the_first)
    await turns()
    await background.close()
    assert task.done()


async def test_a_task_that_tidies_up_is_not_interrupted_because_the_machine_stood_still(background: Background) -> None:
    closed: list[str] = []

    async def tidies_up() -> None:
        try:
            await lasts()
        finally:
            await asyncio.sleep(0)
            ends = time.monotonic() + 0.2
            while time.monotonic() < ends:
                pass  # the whole program stands still
            await turns(5)
            closed.append("connection")

    background.keep("sync", tidies_up)
    await turns()
    await background.close()
    assert closed == ["connection"]


async def test_a_task_that_does_not_end_is_abandoned_in_time_and_named() -> None:
    goes_on = True

    async def does_not_end() -> None:
        while goes_on:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)

    background = Background()
    task = background.keep("stubborn", does_not_end, ends=True)
    await turns()
    with capture_logs() as logs:
        await background.close(within_s=0.05)
    assert [(log["event"], log["tasks"]) for log in logs] == [("background_task_does_not_end", ["stubborn"])]
    goes_on = False
    await end([task])


@pytest.mark.parametrize("first", [returns, dies])
async def test_the_first_of_several_ends_the_others_before_its_error_is_raised(first: Callable[..., Any]) -> None:
    ended: list[str] = []

    async def tidies_up() -> None:
        try:
            await lasts()
        finally:
            await turns()
            ended.append("other")

    raised = contextlib.nullcontext() if first is returns else pytest.raises(LookupError)
    with raised:
        await until_first(tidies_up(), first())
    assert ended == ["other"]


async def test_a_cancellation_ends_all_that_run_until_the_first_ends() -> None:
    ended: list[int] = []

    async def tidies_up(number: int) -> None:
        try:
            await lasts()
        finally:
            ended.append(number)

    task = asyncio.create_task(until_first(tidies_up(1), tidies_up(2)))
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [1, 2]


async def test_closing_without_tasks_does_not_wait() -> None:
    await end([None])
