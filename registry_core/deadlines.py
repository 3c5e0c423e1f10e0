"""Tells when keys have waited too long: one timer for all of them, where asyncio has one for each.

A timer for each connection costs more than most connections, and stays in the loop's heap after it is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from itertools import takewhile
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
        self._since.setdefault(key, asyncio.get_running_loop().time())
        self._again()

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
        now = loop.time()
        for key in list(takewhile(lambda key: self._since[key] + self._after_s <= now, self._since)):
            self._since.pop(key, None)
            self._passed(key)
        if self._since:
            self._again()

    def _again(self) -> None:
        if self._timer is None:
            oldest = next(iter(self._since.values()))
            self._timer = asyncio.get_running_loop().call_at(oldest + self._after_s, self._look)
