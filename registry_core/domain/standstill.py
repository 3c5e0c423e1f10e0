"""Whether a request may have waited while this process stood still. Pure: the clock is an argument.

A process that is stopped (SIGSTOP, a frozen container, a suspended machine) wakes up and finds in its sockets what was
sent meanwhile. Its senders gave up long ago, and have said something newer elsewhere; a write that names no sequence
would undo that. When it was sent cannot be seen, so everything that is read for the first time around the end of a gap
is in doubt, and so is what was being handled when the gap began.

The loop's own turns show the gap. On waking, sockets are read before any timer runs: what is handled then has to look
at the time itself, and not only at whether a gap was noticed.
"""

from __future__ import annotations

import math
from typing import Final

# How often the loop shows that it turns.
TURN_EVERY_S: Final = 0.25
# A turn that comes later than this is a gap. Garbage, a large answer or a busy machine take less; clients wait longer.
MOST_LATE_S: Final = 2.0
# How long everything is in doubt after a gap, and after connections from within it were seen waiting to be accepted.
# What waited in open sockets is read in one turn.
GRACE_S: Final = 1.0
# How long at the most: connections are accepted one with each turn of libuv, and new ones come.
MOST_GRACE_S: Final = 10.0


class Standstills:
    """The gaps of one event loop. Times given to it must not fall."""

    def __init__(self) -> None:
        self._turned_at: float | None = None
        self._noticed_at = -math.inf  # when the last gap was
        self._waited_at = -math.inf  # when something was left of it last
        self._over_at = -math.inf  # when nothing was left any more of what came within it; infinity: not yet

    def turned(self, now: float, *, waiting: bool = False) -> float | None:
        """Note a turn of the loop. Return how long the gap was that it ends, or None when there was none.

        `waiting` says whether connections wait to be accepted: they may have done so since before the gap ended. A turn
        ends the grace, and no clock does: a loop that has much to refuse turns late.
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
        """Return whether a request whose handling began at `came_at` may be older than a gap; asked at `now`."""
        if self._turned_at is not None and _is_gap(self._turned_at, now):
            return True
        return came_at < self._over_at


def _is_gap(before: float, now: float) -> bool:
    return now - before > TURN_EVERY_S + MOST_LATE_S
