"""What the watch of one replica counts: changes, snapshots, octets, and how late a sample of changes is written.

At most one change a second is followed to every reader that gets it: a fleet of readers would otherwise be measured
more often than it is written to.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from registry_core.telemetry.bucket_counts import BucketCounts
from registry_core.telemetry.histograms import SECONDS

FOLLOWED_EVERY_S: Final = 1.0
# A reader that has not got a change after this time is behind.
BEHIND_S: Final = 1.0


class WatchCounts:
    """The counts of one hub. `now` is in seconds of a monotonic clock; `lag` takes the measured seconds."""

    def __init__(self, lag: BucketCounts | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self.lag = lag if lag is not None else BucketCounts(SECONDS)
        self.events = 0  # changes of the view, each once, however many readers it has
        self.octets = 0  # handed to connections
        self.snapshots: Counter[str] = Counter()  # by the reason for each
        self._now = now
        self._followed_at = float("-inf")

    def changed(self, *, is_read: bool) -> float | None:
        """Count a change; return its time if it is to be followed to its readers, if anybody reads."""
        self.events += 1
        if not is_read:
            return None
        now = self._now()
        if now - self._followed_at < FOLLOWED_EVERY_S:
            return None
        self._followed_at = now
        return now

    def sent(self, octets: int, followed_at: float | None, readers: int = 1) -> None:
        """Count what was written, and the change of that time if it was part of it for so many readers."""
        self.octets += octets
        if followed_at is not None:
            self.lag.observe(self._now() - followed_at, readers)

    def is_behind(self, followed_at: float | None) -> bool:
        """Return whether a reader is behind who has not got the followed change of that time; None if it has all."""
        return followed_at is not None and self._now() - followed_at > BEHIND_S
