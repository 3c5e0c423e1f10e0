"""Decides which of many equal failures to log: the first ones, then one now and then, and the end.

A loop fails once a second for as long as its store is away. Pure: it writes nothing itself.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

import msgspec

# Between two log lines about the same cause.
TOLD_EVERY_S: Final = 30.0
# A cause that did not come again for so long is over: what is left to report of it would never be.
FORGOTTEN_S: Final = 10 * TOLD_EVERY_S
# Causes may contain addresses or numbers, and differ each time. Those beyond this number share one line.
MAX_CAUSES: Final = 8
_OTHERS: Final = ""


class OutageEnd(msgspec.Struct, frozen=True):
    """The summary of an outage that is over."""

    failures: int
    lasted_s: float


class Thinning:
    """The failures of one loop, or of whatever else repeats. `now` is in seconds of a monotonic clock.

    Of each cause, up to `burst` lines are due in TOLD_EVERY_S. More than `causes` causes share one.
    """

    def __init__(self, *, causes: int = MAX_CAUSES, burst: int = 1) -> None:
        self._causes = causes
        self._burst = burst
        self._since: float | None = None  # the first failure after the last success
        self._failures = 0
        self._told = False
        self._told_at: dict[str, float] = {}  # the first line of the current TOLD_EVERY_S
        self._lines: Counter[str] = Counter()  # since then
        self._untold: Counter[str] = Counter()

    def failed(self, cause: str, now: float) -> int | None:
        """Note a failure. Return how many of this cause to report in a line now, or None when no line is due."""
        self._since = now if self._since is None else self._since
        self._failures += 1
        if cause not in self._told_at and len(self._told_at) >= self._causes:
            self._forget(now)
            if len(self._told_at) >= self._causes:
                cause = _OTHERS
        self._untold[cause] += 1
        if now - self._told_at.get(cause, -math.inf) >= TOLD_EVERY_S:
            self._told_at[cause] = now
            self._lines[cause] = 0
        if self._lines[cause] >= self._burst:
            return None
        self._lines[cause] += 1
        self._told = True
        return self._untold.pop(cause)

    def is_over(self, now: float) -> bool:
        """Return whether nothing has been reported for so long that it may be forgotten."""
        return all(now - at >= FORGOTTEN_S for at in self._told_at.values())

    def _forget(self, now: float) -> None:
        """Forget the causes of which nothing is left to report, and those that ended long ago."""
        for cause, at in list(self._told_at.items()):
            if now - at >= (FORGOTTEN_S if self._untold[cause] else TOLD_EVERY_S):
                del self._told_at[cause], self._lines[cause]
                self._untold.pop(cause, None)

    def succeeded(self, now: float) -> OutageEnd | None:
        """Note a success. Return the outage that it ends if its start was logged, or None.

        A fault that comes and goes every second is logged no more often than one that lasts: causes keep their timers.
        """
        if self._since is None:
            return None
        end = OutageEnd(self._failures, now - self._since) if self._told else None
        self._since, self._failures, self._told = None, 0, False
        return end
