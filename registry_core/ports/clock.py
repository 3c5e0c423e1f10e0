"""What time it is: asked by everything that waits, or judges how old something is."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks, for two purposes."""

    def monotonic(self) -> float:
        """Seconds that never jump: for leases, ages and timeouts."""
        ...

    def wall(self) -> float:
        """Unix seconds: for what people read, and never to decide anything."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()
