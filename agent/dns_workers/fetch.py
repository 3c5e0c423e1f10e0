"""Services that are not held in a DNS worker: its agent is asked, which reads them for all its processes."""

from __future__ import annotations

import asyncio
from typing import Final

from agent.dns_workers.wire import Read, Wanted, post
from agent.view.loader import WAIT_S

# Questions that wait for the agent, whatever it does.
MAX_WAITING: Final = 2000
# The agent keeps nobody waiting for longer than WAIT_S; this is for when it says nothing at all.
PATIENCE_S: Final = 2 * WAIT_S


class Reading:
    """What a worker's view fetches with."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._count = 0

    def fetch(self, label: str) -> asyncio.Future[None] | None:
        """Have the agent read a service; return what is done when it has been told. None: too many wait already."""
        if self._count >= MAX_WAITING:
            return None
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(PATIENCE_S, self._settle, label)
        waiting = self._waiting.get(label)
        if waiting is None:
            self._waiting[label] = [waiter]
            post(self._writer, Wanted(label))
        else:
            waiting.append(waiter)
        self._count += 1
        waiter.add_done_callback(lambda _: timer.cancel())
        return waiter

    def take(self, read: Read) -> None:
        """Take the agent's word on some services."""
        for label in read.labels:
            self._settle(label)

    def close(self) -> None:
        """Give up what waits."""
        for label in tuple(self._waiting):
            self._settle(label)

    def _settle(self, label: str) -> None:
        waiting = self._waiting.pop(label, [])
        self._count -= len(waiting)
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
