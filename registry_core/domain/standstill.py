"""Whether a request may have waited while this process stood still. Pure: the clock is an argument.

A process that was stopped (SIGSTOP, a frozen container, a suspended machine) wakes up to requests that arrived
meanwhile. Their senders gave up long ago, and may have written something newer elsewhere; a write without a sequence
would undo that. Nothing shows when a request was sent, so every request first read around the end of a gap is in
doubt, and so is every request that was being handled when the gap began.

The loop's own turns reveal a gap. On waking, sockets are read before any timer runs, so a handler must check the
time itself, and not only whether a gap was noticed.
"""

from __future__ import annotations

import math
from typing import Final

# How often the loop shows that it turns.
TURN_EVERY_S: Final = 0.25
# A later turn is a gap. Garbage collection, a large answer or a busy machine take less; clients wait longer.
MOST_LATE_S: Final = 2.0
# How long requests are in doubt after a gap, and after connections from within it were seen waiting to be accepted.
# What waited in open sockets is read in one turn.
GRACE_S: Final = 1.0
# The upper limit: libuv accepts one connection per turn, and new ones keep arriving.
MOST_GRACE_S: Final = 10.0


class Standstills:
    """The gaps of one event loop. Times passed to it must not decrease."""

    def __init__(self) -> None:
        self._turned_at: float | None = None
        self._noticed_at = -math.inf  # when the last gap was
        self._waited_at = -math.inf  # when connections from within it last waited
        self._over_at = -math.inf  # when its last leftovers were gone; infinity: not yet

    def turned(self, now: float, *, waiting: bool = False) -> float | None:
        """Note a turn of the loop. Return the length of the gap that it ends, or None when there was none.

        `waiting`: connections wait to be accepted, perhaps since before the gap ended. Only a turn ends the grace, not
        the clock: a loop with many requests to refuse turns late.
        """
        before, self._turned_at = self._turned_at, now
        if before is not None and _is_gap(before, now):
            self._noticed_at = self._waited_at = now
            self._over_at = math.inf
            return now - before
        if waiting:
            self._waited_at = now
        if self._over_at == math.inf and now >= min(self._waited_at + GRACE_S, self._noticed_at + MOST_GRACE_S):
            self._over_at = now
        return None

    def doubts(self, came_at: float, now: float) -> bool:
        """Return whether, at `now`, a request whose handling began at `came_at` may be older than a gap."""
        return came_at < self._over_at or (self._turned_at is not None and _is_gap(self._turned_at, now))


def _is_gap(before: float, now: float) -> bool:
    return now - before > TURN_EVERY_S + MOST_LATE_S
