"""The rate of hits over the last minute, from two counts that only grow. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

WINDOW_S: Final = 60.0
# Counts are noted every few seconds.
_MOST_NOTES: Final = 64


class _Note(NamedTuple):
    at: float
    hits: float
    misses: float


class HitRate:
    """The counts at some past moments. `now` is in seconds of a monotonic clock."""

    def __init__(self, least: int) -> None:
        """Of fewer than `least` lookups there is no rate."""
        self._least = least
        self._notes: deque[_Note] = deque(maxlen=_MOST_NOTES)

    def note(self, now: float, hits: float, misses: float) -> None:
        """Note the counts as of now."""
        self._notes.append(_Note(now, hits, misses))
        # The oldest one kept is the newest that is a whole window old.
        while len(self._notes) > 1 and now - self._notes[1].at >= WINDOW_S:
            self._notes.popleft()

    def rate(self, hits: float, misses: float) -> float | None:
        """Return the rate (0 to 1) since a window ago, up to the counts as of now; None when there were too few."""
        since = self._notes[0] if self._notes else _Note(0.0, 0.0, 0.0)
        hit, missed = hits - since.hits, misses - since.misses
        return hit / (hit + missed) if hit + missed >= self._least else None
