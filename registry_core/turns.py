"""Lets a bounded number of those who have more to do go on in each turn of the event loop, fairly between owners.

One who asks and waits for the answer is not among them, so it does not stand behind a thousand of the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from itertools import islice
from typing import TypeAlias

GoOn: TypeAlias = Callable[[], object]


class LoopTurns:
    """Those who wait to go on: the owners in turn, and of each owner the first come first."""

    def __init__(self, at_once: int) -> None:
        """`at_once` may go on in one turn of the loop."""
        self._at_once = at_once
        # Each of the owners has somebody waiting.
        self._waiting: dict[Hashable, dict[GoOn, None]] = {}
        self._is_called = False

    def __len__(self) -> int:
        """The number of those who wait."""
        return sum(map(len, self._waiting.values()))

    def call(self, go_on: GoOn, owner: Hashable = None) -> None:
        """Call `go_on` when it is its turn: the next one of the loop at the earliest."""
        self._waiting.setdefault(owner, {})[go_on] = None
        self._call_soon()

    def drop(self, go_on: GoOn, owner: Hashable = None) -> None:
        """Forget one who waits no more: who leaves takes no turn and no memory. Safe to call twice."""
        waiting = self._waiting.get(owner)
        if waiting is not None:
            waiting.pop(go_on, None)
            if not waiting:
                del self._waiting[owner]

    async def next(self, owner: Hashable = None) -> None:
        """Wait for one's turn: the next one of the loop at the earliest."""
        mine = asyncio.get_running_loop().create_future()

        def go_on() -> None:
            if not mine.done():
                mine.set_result(None)

        self.call(go_on, owner)
        try:
            await mine
        finally:
            self.drop(go_on, owner)

    def _call_soon(self) -> None:
        if self._waiting and not self._is_called:
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._let_go_on)

    def _let_go_on(self) -> None:
        self._is_called = False
        now: list[GoOn] = []
        while self._waiting and len(now) < self._at_once:
            owner = next(iter(self._waiting))
            waiting = self._waiting.pop(owner)
            now += islice(waiting, 1)
            del waiting[now[-1]]
            if waiting:
                self._waiting[owner] = waiting  # behind the other owners
        self._call_soon()
        for go_on in now:
            go_on()
