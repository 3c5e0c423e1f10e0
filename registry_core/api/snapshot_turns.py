"""Admits readers to a snapshot of everything in turn: some at once, others wait, and yet others come back later.

A thousand agents that return at once would otherwise fill a thousand connections in every turn of the event loop, and
a lookup would wait behind all of them. In turn, each gets its snapshot as fast as its line allows, the first ones
early, and the last ones hardly later.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import Final, Self

from registry_core.domain.selection import Random
from registry_core.errors import Overloaded
from registry_core.ports.clock import Clock

# So many fill the connection of a fast reader each, without keeping the event loop for long.
AT_ONCE: Final = 32
# A reader behind a slow line goes on reading after this time, but no longer keeps the next one waiting.
TURN_S: Final = 0.5
ROOM_S: Final = 0.5
# Readers that wait with an open connection.
MAX_WAITING: Final = 5000
# A reader that would wait for longer is told to come back, and may find a replica with room before.
LONGEST_WAIT_S: Final = 15.0
# The returns of those sent away are spread over the time for which the waiting ones will keep this replica busy.
LEAST_SPREAD_S: Final = 4.0
MOST_SPREAD_S: Final = 60.0
# How much the latest turn says about the length of the next ones.
_WEIGHT: Final = 0.1


class SnapshotTurn:
    """The turn of one reader: it waits, it reads, and it is over, at the latest TURN_S after it began."""

    def __init__(self, over: Callable[[SnapshotTurn], None]) -> None:
        """`over` is called once, when the turn is over or was given up."""
        self._over: Callable[[SnapshotTurn], None] | None = over
        self._came = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.began = 0.0

    async def has_come(self, within_s: float) -> bool:
        """Wait for the turn; return whether it came within that time."""
        if not self._came.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._came.wait()
        return self._came.is_set()

    def begin(self, now: float) -> None:
        """Let the reader read."""
        self.began = now
        self._came.set()
        self._timer = asyncio.get_running_loop().call_later(TURN_S, self.end)

    def end(self) -> None:
        """Let the next one begin. Safe to call twice, and while it still waits."""
        if self._timer is not None:
            self._timer.cancel()
        if self._over is not None:
            over, self._over = self._over, None
            over(self)


class SnapshotTurns:
    """The turns of one replica's readers: first come, first served."""

    def __init__(
        self,
        clock: Clock,
        random: Random,
        *,
        at_once: int = AT_ONCE,
        most_waiting: int = MAX_WAITING,
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        """`has_room` tells whether one more may begin at all; it is asked again after ROOM_S."""
        self._clock = clock
        self._random = random
        self._at_once: float = at_once
        self._most_waiting = most_waiting
        self._has_room = has_room
        self._retry: asyncio.TimerHandle | None = None
        self._reading = 0
        self._waiting: dict[SnapshotTurn, None] = {}
        self._turn_s = 0.0  # the average length of the latest turns
        self.refused = 0

    def __len__(self) -> int:
        """The number of readers that wait."""
        return len(self._waiting)

    @property
    def expected_s(self) -> float:
        """For how long one who comes now is expected to wait."""
        return len(self._waiting) * self._turn_s / self._at_once

    def admit(self) -> None:
        """Raise Overloaded when one more reader would wait for too long; each is told another time to come back."""
        if len(self._waiting) < self._most_waiting and self.expected_s <= LONGEST_WAIT_S:
            return
        self.refused += 1
        spread_s = min(MOST_SPREAD_S, max(LEAST_SPREAD_S, self.expected_s))
        raise Overloaded(
            f"{len(self._waiting)} readers wait for a snapshot already",
            retry_after_s=1.0 + spread_s * self._random.random(),
        )

    def queue(self) -> SnapshotTurn:
        """Return the turn of one more reader, which the caller ends."""
        turn = SnapshotTurn(self._ended)
        self._waiting[turn] = None
        self._let_begin()
        return turn

    def close(self) -> None:
        """Let all begin: they will find that this replica stops."""
        self._at_once, self._has_room = math.inf, lambda: True
        self._let_begin()

    def _let_begin(self) -> None:
        while self._waiting and self._reading < self._at_once:
            if not self._has_room():
                if self._retry is None:
                    self._retry = asyncio.get_running_loop().call_later(ROOM_S, self._look_for_room)
                return
            turn = next(iter(self._waiting))
            del self._waiting[turn]
            self._reading += 1
            turn.begin(self._clock.monotonic())

    def _look_for_room(self) -> None:
        self._retry = None
        self._let_begin()

    def _ended(self, turn: SnapshotTurn) -> None:
        if turn in self._waiting:
            del self._waiting[turn]
            return
        self._turn_s += _WEIGHT * (self._clock.monotonic() - turn.began - self._turn_s)
        self._reading -= 1
        self._let_begin()


class ReaderTurns:
    """The turns of one reader: as often as it is owed a snapshot, one after the other. Used in a `with`."""

    def __init__(self, turns: SnapshotTurns) -> None:
        self._turns = turns
        self._turn: SnapshotTurn | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.is_level()

    async def may_read(self, within_s: float, *, owes: bool) -> bool:
        """Return whether the reader, which is owed a snapshot or not, may read on; it may wait that long for a turn."""
        if self._turn is None:
            if not owes:
                return True
            self._turn = self._turns.queue()
        return await self._turn.has_come(within_s)

    async def has_read(self, *, everything: bool) -> None:
        """Note that a part was sent, or all of them: a fast reader lets others have their turn of the event loop."""
        if self._turn is not None:
            await asyncio.sleep(0)
            if everything:
                self.is_level()

    def is_level(self) -> None:
        """Note that the reader lacks nothing: its turn is over, if it has one."""
        if self._turn is not None:
            self._turn.end()
            self._turn = None
