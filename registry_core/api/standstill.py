"""Refuses writes that may have waited in a socket while this replica stood still; the domain decides which.

The sender of such a write has given up, or got its answer from another replica. One that is still there retries.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

import structlog

from registry_core.domain.standstill import GRACE_S, Standstills
from registry_core.errors import StoodStill
from registry_core.telemetry.metrics import ReplicaMetrics

# CLOCK_MONOTONIC stops while a Linux machine is suspended, and would show no gap; CLOCK_BOOTTIME runs on. In a
# virtual machine whose hypervisor stops every clock, neither shows a gap: only the sequences of writes help there.
_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

log = structlog.get_logger()

# When the handling of the current request began. None outside of any request.
_came_at: Final[ContextVar[float | None]] = ContextVar("came_at", default=None)


def boot_s() -> float:
    """Return seconds of a clock that never jumps and also runs while the machine is suspended."""
    return time.clock_gettime(_CLOCK)


class WriteGate:
    """Lets writes through, except those from around a standstill."""

    def __init__(
        self,
        metrics: ReplicaMetrics,
        *,
        waiting: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = boot_s,
    ) -> None:
        """`waiting` says whether connections wait to be accepted."""
        self._metrics = metrics
        self._waiting = waiting
        self._now = now
        self._standstills = Standstills()

    async def turn(self) -> None:
        """Note that the loop turns. Call it every TURN_EVERY_S."""
        gap_s = self._standstills.turned(self._now(), waiting=self._waiting())
        if gap_s is not None:
            self._metrics.standstills.inc()
            log.warning("stood still: writes that may have waited are refused", gap_s=round(gap_s, 2), for_s=GRACE_S)

    def enter(self) -> None:
        """Note the start of a writing request, before its body is read. Raises StoodStill."""
        now = self._now()
        _came_at.set(now)
        self._refuse_doubtful(now, now)

    def check(self) -> None:
        """Raise StoodStill when the current write may be older than a gap. Call it just before the store."""
        now, came_at = self._now(), _came_at.get()
        self._refuse_doubtful(now if came_at is None else came_at, now)

    def _refuse_doubtful(self, came_at: float, now: float) -> None:
        if self._standstills.doubts(came_at, now):
            self._metrics.stale_writes.inc()
            raise StoodStill(
                "this replica stood still, and the request may have waited meanwhile: nothing was done, send it again"
            )
