"""Lets a bounded number of those who have more to do go on in each turn of the event loop, fairly between owners.

One who asks and waits for the answer is not among them, so it does not stand behind a thousand of the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable


class LoopTurns:
    """Those who wait to go on: the owners in turn, and of each owner the first come first."""

    def __init__(self, at_once: int) -> None:
        """`at_once` may go on in one turn of the loop."""
        self._at_once = at_once
        # Each of the owners has somebody waiting.
        self._waiting: dict[Hashable, deque[Callable[[], object]]] = {}

    def call(self, go_on: Callable[[], object], owner: Hashable = None) -> None:
        """Call `go_on` when it is its turn: the next one of the loop at the earliest."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._let_go_on)
        self._waiting.setdefault(owner, deque()).append(go_on)

    async def next(self, owner: Hashable = None) -> None:
        """Wait for one's turn: the next one of the loop at the earliest."""
        mine = asyncio.get_running_loop().create_future()

        def go_on() -> None:
            if not mine.done():
                mine.set_result(None)

        self.call(go_on, owner)
        await mine

    def _let_go_on(self) -> None:
        now: list[Callable[[], object]] = []
        while self._waiting and len(now) < self._at_once:
            owner = next(iter(self._waiting))
            waiting = self._waiting.pop(owner)
            now.append(waiting.popleft())
            if waiting:
                self._waiting[owner] = waiting  # behind the other owners
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._let_go_on)
        for go_on in now:
            go_on()
