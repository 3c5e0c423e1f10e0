"""How long a server takes to answer, as the median of its latest answers: one slow answer does not count.

Pure: callers pass in the measurements.
"""

from __future__ import annotations

import statistics
from collections import deque
from typing import Final

# The master is probed twice a second, so a lasting change shows within two seconds.
ANSWERS: Final = 5


class Latency:
    """The latest response times of one server."""

    def __init__(self) -> None:
        self._latest_s: deque[float] = deque(maxlen=ANSWERS)

    def heard(self, took_s: float) -> None:
        """Record one answer."""
        self._latest_s.append(took_s)

    def forget(self) -> None:
        """Forget all answers: the server has changed."""
        self._latest_s.clear()

    @property
    def median_ms(self) -> float | None:
        """The median in milliseconds, or None without an answer."""
        return round(statistics.median(self._latest_s) * 1000, 3) if self._latest_s else None
