"""Starts background tasks, restarts those that die, logs and counts the deaths, and stops all tasks in time.

It knows nothing of what a task does. A loop that dies of an error, or returns although it never should, is restarted
after a back-off that doubles. State that must survive a restart belongs in an object, not in the loop's variables.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import Context, copy_context
from typing import Any, Final, TypeAlias

import msgspec
import structlog

from registry_core.domain.backoff import Backoff
from registry_core.ports.clock import Clock, SystemClock
from registry_core.telemetry.log_thinning import Thinning
from registry_core.telemetry.trace_context import outside

RESTART_FIRST_S: Final = 0.1
RESTART_MOST_S: Final = 10.0
# Work that ran this long counts as healthy: its next death starts the back-off from the beginning.
SETTLED_S: Final = 60.0
# How long to wait for tasks to end.
END_S: Final = 2.0
# Until Python 3.12, `asyncio.wait_for` loses a cancellation that arrives in the turn in which its awaitable
# finishes, and the task goes on as if it had not been cancelled. So it is cancelled again, but after several waits
# instead of one: when the machine stood still, one wait is over before the task has had a turn, and the second
# cancellation would interrupt what the task closes at its end.
_WAITS: Final = 10
_WAIT_S: Final = 0.05
# Causes per name whose traceback is logged; bounded, since a cause may contain a number that differs each time.
_MOST_TRACED: Final = 8

Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

_log = structlog.get_logger(component="background")


class Returned(Exception):
    """Raised when a loop returned although it never should."""


class BackgroundReport(msgspec.Struct, frozen=True, kw_only=True):
    """The tasks of one name: how often they died, and whether any of them is waiting to restart."""

    task: str
    failures: int
    restarts: int
    down: bool
    problem: str  # the cause of the last death; empty if there was none


class _Watched:
    """The counts and causes of all tasks of one name."""

    def __init__(self) -> None:
        self.failures = self.restarts = self.down = 0
        self.problem = ""
        self._thinning = Thinning()
        self._traced: set[str] = set()

    def died(self, task: str, error: BaseException, now: float, again_in_s: float | None) -> None:
        """Count a death and log it: the first of each cause at once and with its traceback, later ones now and then."""
        self.failures += 1
        self.problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        failures = self._thinning.failed(self.problem, now)
        if failures is None:
            return
        is_new = self.problem not in self._traced and len(self._traced) < _MOST_TRACED
        if is_new:
            self._traced.add(self.problem)
        # Without a free descriptor or memory the log call itself may fail, which must not end the supervision.
        with contextlib.suppress(Exception):
            _log.error(
                "background_task_died",
                task=task,
                because=self.problem,
                failures=failures,
                again_in_s=again_in_s,
                exc_info=error if is_new else None,
            )


class Background:
    """The background tasks of one program. Call `close` at the end."""

    def __init__(
        self, clock: Clock | None = None, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._clock = clock if clock is not None else SystemClock()
        self._sleep = sleep
        self._watched: dict[str, _Watched] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, task: str, work: Work, *, ends: bool = False, most_s: float = RESTART_MOST_S) -> asyncio.Task[None]:
        """Keep `work` running, and return its task; cancelling the task ends it for good.

        The work restarts at most `most_s` after it dies. With `ends`, a return is a normal end and not a death.
        Logs and metrics show it as `task`, a name that several tasks may share. It belongs to no request, although one
        may have started it.
        """
        apart = copy_context()
        apart.run(outside)
        return self._start(task, self._kept(task, self._known(task), work, ends=ends, most_s=most_s), apart)

    def begin(self, task: str, work: Work) -> asyncio.Task[None]:
        """Run `work` once, and return its task. The task raises nothing: a death is logged and counted.

        It belongs to the request that starts it, if one does.
        """
        return self._start(task, self._once(task, self._known(task), work))

    def report(self) -> list[BackgroundReport]:
        """Return one report per name, in the order in which the names were first used."""
        return [
            BackgroundReport(
                task=task,
                failures=known.failures,
                restarts=known.restarts,
                down=known.down > 0,
                problem=known.problem,
            )
            for task, known in self._watched.items()
        ]

    async def close(self, within_s: float = END_S) -> None:
        """Cancel all running tasks, and wait up to `within_s` for them to end. Safe to call twice."""
        await end(self._tasks, within_s)

    def _known(self, task: str) -> _Watched:
        return self._watched.setdefault(task, _Watched())

    def _start(self, name: str, work: Coroutine[Any, Any, None], context: Context | None = None) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _kept(self, task: str, known: _Watched, work: Work, *, ends: bool, most_s: float) -> None:
        backoff = Backoff(RESTART_FIRST_S, most_s)
        deaths = 0
        while True:
            began = self._clock.monotonic()
            died = await _life(work)
            if died is None and ends:
                return
            now = self._clock.monotonic()
            deaths = 1 if now - began >= SETTLED_S else deaths + 1
            wait_s = backoff.wait_s(deaths)
            known.died(task, died if died is not None else Returned("it ended by itself"), now, wait_s)
            known.down += 1
            try:
                await self._sleep(wait_s)
            finally:
                known.down -= 1
            known.restarts += 1

    async def _once(self, task: str, known: _Watched, work: Work) -> None:
        # In this very task, so that a cancellation stops the work before its next step.
        try:
            await work()
        except asyncio.CancelledError as error:
            own = asyncio.current_task()
            if own is None or own.cancelling():
                raise
            # The task itself was not cancelled; something it awaited was.
            known.died(task, error, self._clock.monotonic(), None)
        except Exception as error:  # noqa: BLE001 - the top of a task that nothing awaits
            known.died(task, error, self._clock.monotonic(), None)


async def _life(work: Work) -> BaseException | None:
    """Run `work` to its end; return the error that ended it, or None if it returned. Propagates a cancellation."""
    # In a task of its own: what the work does to its task (a task group of Python 3.11 leaves it marked when a child
    # fails) must not be mistaken for a cancellation from outside.
    life = asyncio.create_task(_started(work))
    is_to_end = False
    while not life.done():
        try:
            await asyncio.wait((life,))
        except asyncio.CancelledError:
            is_to_end = True
            life.cancel()
    if is_to_end:
        raise asyncio.CancelledError
    # The task itself was not cancelled; something it awaited was.
    return asyncio.CancelledError("something it awaited was cancelled") if life.cancelled() else life.exception()


async def _started(work: Work) -> None:
    await work()  # called in here, so that a failing call counts as any other death


async def until_first(*work: Coroutine[Any, Any, None]) -> None:
    """Run all of `work` at once until one of them ends; raise what it raised. The others are cancelled by then."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def end(tasks: Iterable[asyncio.Task[Any] | None], within_s: float = END_S) -> None:
    """Cancel the tasks, repeatedly, until they end or `within_s` has passed. What they raise is ignored."""
    meant = {task for task in tasks if task is not None}
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + within_s
    while left := {task for task in meant if not task.done()}:
        if loop.time() >= ends_at:
            _log.error("background_task_does_not_end", tasks=sorted({task.get_name() for task in left}))
            return
        for task in left:
            task.cancel()
        for _ in range(_WAITS):
            _, left = await asyncio.wait(left, timeout=min(_WAIT_S, within_s))
            if not left or loop.time() >= ends_at:
                break
    await asyncio.gather(*meant, return_exceptions=True)  # retrieves their errors, or asyncio complains
