"""How long a server takes to answer, as the middle of its latest answers: one slow one is no slow server.

PURE: it is told, and measures nothing itself.
"""

from __future__ import annotations

import statistics
from collections import deque
from typing import Final

# Of a master that is asked twice a second: what holds for longer than a moment shows within two seconds.
ANSWERS: Final = 5


class Latency:
    """The latest answers of one server."""

    def __init__(self) -> None:
        self._latest_s: deque[float] = deque(maxlen=ANSWERS)

    def heard(self, took_s: float) -> None:
        """Take note of one answer."""
        self._latest_s.append(took_s)

    def forget(self) -> None:
        """Begin anew: another server is meant from now on."""
        self._latest_s.clear()

    @property
    def median_ms(self) -> float | None:
        """The median in milliseconds, or None when nothing was heard."""
        return round(statistics.median(self._latest_s) * 1000, 3) if self._latest_s else None
