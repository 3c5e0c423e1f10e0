"""Lets a bounded number of those who have more to do go on in each turn of the event loop.

One who asks and waits for the answer is not among them, so it does not stand behind a thousand of the others.
"""

from __future__ import annotations

import asyncio
from collections import deque


class LoopTurns:
    """Those who wait to go on, the first come first."""

    def __init__(self, at_once: int) -> None:
        """`at_once` may go on in one turn of the loop."""
        self._at_once = at_once
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def next(self) -> None:
        """Wait for one's turn: the next one of the loop at the earliest."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._let_go_on)
        mine = loop.create_future()
        self._waiting.append(mine)
        await mine

    def _let_go_on(self) -> None:
        for _ in range(min(self._at_once, len(self._waiting))):
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._let_go_on)
