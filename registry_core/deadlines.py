"""Tells when keys have waited too long: one timer for all of them, where asyncio has one for each.

A timer for each connection costs more than most connections, and stays in the loop's heap after it is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Deadlines(Generic[K]):
    """Keys that each have `after_s` seconds; `passed` is called with one that is still here then."""

    def __init__(self, after_s: float, passed: Callable[[K], object]) -> None:
        self._after_s = after_s
        self._passed = passed
        self._since: dict[K, float] = {}  # the oldest first
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, key: K) -> bool:
        return key in self._since

    def start(self, key: K) -> None:
        """Give `key` its time. One that has it already keeps what is left."""
        loop = asyncio.get_running_loop()
        self._since.setdefault(key, loop.time())
        if self._timer is None:
            self._timer = loop.call_later(self._after_s, self._look)

    def stop(self, key: K) -> None:
        """Forget `key`. Safe to call twice."""
        self._since.pop(key, None)

    def close(self) -> None:
        """Forget all keys."""
        self._since.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._since:
            key, since = next(iter(self._since.items()))
            if since + self._after_s > loop.time():
                self._timer = loop.call_at(since + self._after_s, self._look)
                return
            del self._since[key]
            self._passed(key)
            if self._timer is not None:  # `passed` has given another its time
                return
