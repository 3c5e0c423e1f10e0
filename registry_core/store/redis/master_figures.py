"""The figures of one shard's master for metrics and health: its latency, its copies, and how often it was replaced.

Pure: callers pass in what they heard, and the time.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from registry_core.store.redis.choice import Sighting
from registry_core.store.redis.latency import Latency

# A replica reports once a second how much it has. One that lacks what the master had this long ago is no copy.
COPIED_WITHIN_S: Final = 3.0
# The master is probed twice a second, and twenty times while it is in doubt.
_MOST_OFFSETS: Final = 128


class MasterFigures:
    """The figures of one shard, across its masters."""

    def __init__(self) -> None:
        self._latency = Latency()
        self._offsets: deque[tuple[float, int]] = deque(maxlen=_MOST_OFFSETS)  # of this master, the oldest first
        self._confirmed: tuple[int, ...] | None = None  # by its replicas; None when it has not said
        self._address = ""
        self.failovers = 0

    @property
    def latency_ms(self) -> float | None:
        """The median response time of the current master, or None when not known."""
        return self._latency.median_ms

    @property
    def copies(self) -> int | None:
        """How many replicas hold what the master had some seconds ago; None when no master answers."""
        if self._confirmed is None:
            return None
        needed = self._offsets[0][1]
        return sum(offset >= needed for offset in self._confirmed)

    def heard(self, sighting: Sighting, took_s: float, now: float) -> None:
        """Record one answer of the current master, which came at `now` and took this long."""
        self._latency.heard(took_s)
        self._offsets.append((now, sighting.offset))
        # The oldest one kept is the newest that is old enough to be expected at every replica.
        while len(self._offsets) > 1 and now - self._offsets[1][0] >= COPIED_WITHIN_S:
            self._offsets.popleft()
        self._confirmed = sighting.confirmed if sighting.is_master else None

    def placed(self, address: str) -> None:
        """Note that a master is in place: at another address it is a failover, else it was restarted."""
        if self._address and address != self._address:
            self.failovers += 1
        self._address = address
        self.lost()

    def lost(self) -> None:
        """Forget what is known of the current master."""
        self._latency.forget()
        self._offsets.clear()
        self._confirmed = None
