"""Does the work that answers need, within a budget: ready answers first, then light work, dear work in fair turn.

Work is done at once while little of it is asked for. Above its share of the loop's time it waits in a fair queue, a
bounded time, and ready answers are given meanwhile. Light and dear work have a share each, so that neither waits for
the other. Nothing is begun before it is admitted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec
import structlog

from dns.fair_queue import FairQueue
from registry_core.ports.clock import Clock

T = TypeVar("T")
WorkResult: TypeAlias = T | asyncio.Future[T] | None
"""What work returns: at once, later, or not at all."""

# Answers that cost more, in microseconds, are worth keeping apart from the clients' options.
CHEAP_US: Final = 300
# Work that costs more is dear.
LIGHT_US: Final = 1000
_US: Final = 1e6

_log = structlog.get_logger(component="dns")


class WorkLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of one kind of work. `_us` means microseconds of work, `_s` seconds of waiting."""

    # Of the loop's time. The rest is for ready answers, health checks and the registry.
    share: float
    # Done at once after a pause.
    burst_us: int = 50_000
    # In a row, before others get their turn.
    turn_us: int = 1_000
    waiting: int = 512
    waiting_us: int = 250_000
    # A stub resolver asks again, or elsewhere, after a few seconds.
    patience_s: float = 2.0


LIGHT: Final = WorkLimits(share=0.4, burst_us=100_000)
DEAR: Final = WorkLimits(share=0.25)


class _Job(Generic[T]):
    """Work that waits. `otherwise` makes what is said when it is not done; `only_begins` is as in `later`."""

    __slots__ = ("cost_us", "done", "only_begins", "otherwise", "until", "work")

    def __init__(
        self,
        work: Callable[[], WorkResult[T]],
        otherwise: Callable[[], T | None],
        cost_us: int,
        until: float,
        done: asyncio.Future[T],
        *,
        only_begins: bool,
    ) -> None:
        self.work = work
        self.otherwise = otherwise
        self.cost_us = cost_us
        self.until = until
        self.done = done
        self.only_begins = only_begins

    def settle(self, make: Callable[[], WorkResult[T]]) -> None:
        """Set the result to what `make` returns, now or later; None, or a failure, cancels it."""
        if self.done.done():
            return
        try:
            result = make()
        except Exception:  # noqa: BLE001 - the top of one piece of work: the others go on
            _log.exception("dear_work_failed")
            result = None
        if isinstance(result, asyncio.Future):
            result.add_done_callback(self._follow)
        elif result is None:
            self.done.cancel()
        else:
            self.done.set_result(result)

    def _follow(self, result: asyncio.Future[T]) -> None:
        if self.done.done():
            return
        if result.cancelled():
            self.done.cancel()
        else:
            self.done.set_result(result.result())


class _Lane:
    """The budget of one kind of work, and the work that waits for it."""

    def __init__(self, clock: Clock, limits: WorkLimits) -> None:
        self._clock = clock
        self._limits = limits
        self.queue: FairQueue[_Job[Any]] = FairQueue(limits.waiting, limits.waiting_us)
        self._left_us = float(limits.burst_us)
        self._counted_at = clock.monotonic()
        self._turn: asyncio.Handle | None = None
        self.shed = 0
        self.late = 0

    def admits(self) -> bool:
        return not len(self.queue) and self._budget_us() > 0

    def charge(self, took_us: float) -> None:
        self._left_us = max(self._budget_us() - took_us, -float(self._limits.burst_us))

    def put(
        self,
        asker: Hashable,
        cost_us: int,
        work: Callable[[], WorkResult[T]],
        otherwise: Callable[[], T | None],
        *,
        only_begins: bool,
    ) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        until = self._clock.monotonic() + self._limits.patience_s
        job = _Job(work, otherwise, cost_us, until, done, only_begins=only_begins)
        for displaced in self.queue.put(asker, cost_us, job):
            self.shed += 1
            # Not now: the asker has yet to be told of the future.
            loop.call_soon(displaced.settle, displaced.otherwise)
        self._schedule(loop)
        return done

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._turn is not None or not len(self.queue):
            return
        owed_us = -self._budget_us()
        if owed_us < 0:
            self._turn = loop.call_soon(self._do, loop)
        else:
            self._turn = loop.call_later((owed_us + self._limits.turn_us) / _US / self._limits.share, self._do, loop)

    def _do(self, loop: asyncio.AbstractEventLoop) -> None:
        """Do some of the work that waits, and leave the rest to a later turn."""
        self._turn = None
        done_us = 0.0
        while self._budget_us() > 0 and done_us < self._limits.turn_us and (job := self.queue.take()) is not None:
            if job.done.done():
                continue
            began = self._clock.monotonic()
            if began > job.until:
                self.late += 1
                job.settle(job.otherwise)
                continue
            job.settle(job.work)
            took_us = self.took_us(began, job.cost_us) + (job.cost_us if job.only_begins else 0)
            self.charge(took_us)
            done_us += took_us
        self._schedule(loop)

    def took_us(self, since: float, cost_us: int) -> float:
        """Return what work took that began then; its estimate where the clock stands."""
        return (self._clock.monotonic() - since) * _US or float(cost_us)

    def _budget_us(self) -> float:
        now = self._clock.monotonic()
        earned = (now - self._counted_at) * _US * self._limits.share
        self._counted_at = now
        self._left_us = min(self._left_us + earned, float(self._limits.burst_us))
        return self._left_us


class DearWork:
    """The budgets of one event loop, for light and for dear work."""

    def __init__(self, clock: Clock, light: WorkLimits = LIGHT, dear: WorkLimits = DEAR) -> None:
        self._clock = clock
        self._light, self._dear = _Lane(clock, light), _Lane(clock, dear)
        self._shares = False
        self._charged_us = 0.0  # within the work that is going on

    @property
    def waiting(self) -> int:
        """Pieces of work that wait."""
        return len(self._light.queue) + len(self._dear.queue)

    @property
    def shed(self) -> int:
        """Pieces of work that were not done for lack of room."""
        return self._light.shed + self._dear.shed

    @property
    def late(self) -> int:
        """Pieces of work that were not done because they had waited for longer than their askers do."""
        return self._light.late + self._dear.late

    def share_loop(self) -> None:
        """Keep to the budgets from now on: this loop has other things to do."""
        self._shares = True

    def now(self) -> float:
        """Return the time, for `done`."""
        return self._clock.monotonic()

    def admits(self, cost_us: int) -> bool:
        """Return whether work may be done at once; then tell `done` of it."""
        return not self._shares or self._lane(cost_us).admits()

    def done(self, since: float, cost_us: int) -> None:
        """Charge work that began then."""
        lane = self._lane(cost_us)
        lane.charge(max(0.0, lane.took_us(since, cost_us) - self._charged_us))
        self._charged_us = 0.0

    def done_within(self, since: float, cost_us: int) -> None:
        """Charge dear work that began then, and that is a part of light work, which is charged without it."""
        if self._lane(cost_us) is self._dear:
            self._charged_us = self._dear.took_us(since, cost_us)
            self._dear.charge(self._charged_us)

    def has_room(self, asker: Hashable, cost_us: int) -> bool:
        """Return whether there is room for `later`; otherwise count it as shed."""
        lane = self._lane(cost_us)
        has_room = lane.queue.has_room(asker, cost_us)
        if not has_room:
            lane.shed += 1
        return has_room

    def later(
        self,
        asker: Hashable,
        cost_us: int,
        work: Callable[[], WorkResult[T]],
        otherwise: Callable[[], T | None] = lambda: None,
        *,
        only_begins: bool = False,
    ) -> asyncio.Future[T]:
        """Return a future of what `work` returns, when it is its turn.

        Its cost is what it took; of work that it `only_begins`, also what that will take, by the estimate. Without
        room, or after too long a wait, it is what `otherwise` returns; cancelled when that is None.
        """
        return self._lane(cost_us).put(asker, cost_us, work, otherwise, only_begins=only_begins)

    async def in_turn(
        self, asker: Hashable, cost_us: int, work: Callable[[], T], *, only_begins: bool = False
    ) -> T | None:
        """Return what `work` returns, when it is its turn; None when it found none in time."""
        done = self.later(asker, cost_us, work, only_begins=only_begins)
        try:
            await asyncio.wait([done])
        finally:
            done.cancel()  # has no effect once done
        return None if done.cancelled() else done.result()

    def _lane(self, cost_us: int) -> _Lane:
        return self._light if cost_us <= LIGHT_US else self._dear
