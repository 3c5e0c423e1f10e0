"""Background work, started and watched in one place: what dies is begun again, logged and counted, and ended in time.

It knows nothing of what the work does. A loop that dies of an error, or returns although it never should, is begun
again after a back-off that doubles; what it must not forget then, it keeps in an object and not in its variables.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, TypeAlias

import msgspec
import structlog

from registry_core.domain.backoff import Backoff
from registry_core.ports.clock import Clock, SystemClock
from registry_core.telemetry.log_thinning import Thinning

RESTART_FIRST_S: Final = 0.1
RESTART_MOST_S: Final = 10.0
# What ran for so long was well: when it dies then, it is begun again as soon as after its first death.
SETTLED_S: Final = 60.0
# How long the end of a task is waited for.
END_S: Final = 2.0
# Until Python 3.12, `asyncio.wait_for` loses a cancellation that arrives in the turn in which what it waits for
# is done: the task goes on as if nobody had asked it to end. So it is asked again.
_AGAIN_AFTER_S: Final = 0.1
# Causes whose traceback is logged, for each name: a cause may hold a number, and differ each time.
_MOST_TRACED: Final = 8

Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

_log = structlog.get_logger(component="background")


class Returned(Exception):
    """Raised in place of a loop that returned although it never should."""


class BackgroundReport(msgspec.Struct, frozen=True, kw_only=True):
    """The background work of one name: how often it died, and whether some of it waits to be begun again."""

    task: str
    failures: int
    restarts: int
    down: bool
    problem: str  # what it died of last; empty when it never did


class _Watched:
    """What is known of all work of one name."""

    def __init__(self) -> None:
        self.failures = self.restarts = self.down = 0
        self.problem = ""
        self._thinning = Thinning()
        self._traced: set[str] = set()

    def died(self, task: str, error: BaseException, now: float, again_in_s: float | None) -> None:
        """Count a death and log it: the first of a cause at once and with its traceback, the others now and then."""
        self.failures += 1
        self.problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        failures = self._thinning.failed(self.problem, now)
        if failures is None:
            return
        is_new = self.problem not in self._traced and len(self._traced) < _MOST_TRACED
        if is_new:
            self._traced.add(self.problem)
        # Without a free descriptor or memory the line itself may fail, and must not end what it tells of.
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
    """The background work of one program. `close` it at the end."""

    def __init__(
        self, clock: Clock | None = None, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._clock = clock if clock is not None else SystemClock()
        self._sleep = sleep
        self._watched: dict[str, _Watched] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, task: str, work: Work, *, ends: bool = False, most_s: float = RESTART_MOST_S) -> asyncio.Task[None]:
        """Keep `work` running, and return its task, whose cancellation ends it for good.

        It is begun again `most_s` after its death at the latest. When it `ends`, a return is its end and no death.
        `task` names it in logs and metrics, together with others of its kind.
        """
        return self._start(task, self._kept(task, self._known(task), work, ends=ends, most_s=most_s))

    def begin(self, task: str, work: Work) -> asyncio.Task[None]:
        """Run `work` once, and return its task, which raises nothing: when it dies, that is logged and counted."""
        return self._start(task, self._once(task, self._known(task), work))

    def report(self) -> list[BackgroundReport]:
        """Return how the work of each name goes, in the order in which it was first begun."""
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
        """End everything that still runs, and wait for that, `within_s` at most. Safe to call twice."""
        await end(self._tasks, within_s)

    def _known(self, task: str) -> _Watched:
        return self._watched.setdefault(task, _Watched())

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
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
        # In this very task, so that whoever cancels it stops the work before its next step.
        try:
            await work()
        except asyncio.CancelledError as error:
            own = asyncio.current_task()
            if own is None or own.cancelling():
                raise
            # Nobody asked it to end: what it waited for was cancelled.
            known.died(task, error, self._clock.monotonic(), None)
        except Exception as error:  # noqa: BLE001 - the top of a task that nobody waits for
            known.died(task, error, self._clock.monotonic(), None)


async def _life(work: Work) -> BaseException | None:
    """Run `work` to its end, and return what it died of, or None when it returned. A cancellation is passed on."""
    # In a task of its own: what it does to itself (a task group of Python 3.11 leaves a mark in the task whose child
    # failed) is not to be mistaken for the word that it is to end.
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
    # Nobody asked it to end: what it waited for was cancelled.
    return asyncio.CancelledError("it waited for what was cancelled") if life.cancelled() else life.exception()


async def _started(work: Work) -> None:
    await work()  # here, so that one that cannot even be called dies as any other


async def end(tasks: Iterable[asyncio.Task[Any] | None], within_s: float = END_S) -> None:
    """Cancel the tasks until they have ended, for `within_s` at most; what they raise is of no interest any more."""
    meant = {task for task in tasks if task is not None}
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + within_s
    while left := {task for task in meant if not task.done()}:
        if loop.time() >= ends_at:
            _log.error("background_task_does_not_end", tasks=sorted({task.get_name() for task in left}))
            return
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=min(_AGAIN_AFTER_S, within_s))
    await asyncio.gather(*meant, return_exceptions=True)  # so that nobody complains of what they raised
