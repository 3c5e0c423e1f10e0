"""The clock, for everything that waits or measures age."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks, for two purposes."""

    def monotonic(self) -> float:
        """Seconds that never jump: for leases, ages and timeouts."""
        ...

    def wall(self) -> float:
        """Unix seconds: for people to read, never for decisions."""
        ...


class SystemClock:
    """The clocks of this machine."""

    # As they are: each request asks a dozen times.
    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
