"""Logs the writes that a replica refused or could not carry out. What repeats is thinned.

An agent that is refused tries again for as long as the cause lasts, and so do all others that share the cause.
"""

from __future__ import annotations

from typing import Final

import structlog

from registry_core.domain.names import label_of
from registry_core.errors import Late, NotFound, Unavailable, VerticeError, Warming
from registry_core.ports.clock import Clock
from registry_core.telemetry.log_thinning import Thinning

# Each service has lines of its own for each operation and error, up to this many together.
MAX_CAUSES: Final = 64
# Answers that belong to an ordinary life: an agent registers anew after a 404, and tries again after the others.
_ORDINARY: Final = (NotFound, Late, Warming)

log = structlog.get_logger()


class RefusalLog:
    """The refused and failed writes of one replica."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._thinning = Thinning(causes=MAX_CAUSES)

    def note(self, operation: str, error: VerticeError, *, service: str, instance: str, client: str) -> None:
        """Note a write that ended with `error`; `service` and `instance` are empty where they are not known."""
        kind = type(error).__name__
        times = self._thinning.failed(f"{operation} {kind} {label_of(service[:64])}", self._clock.monotonic())
        if times is None:
            return
        fields = {
            "operation": operation,
            "service": service[:64],
            "instance": instance[:128],
            "client": client,
            "error": kind,
            "because": str(error),
            "times": times,
        }
        if isinstance(error, _ORDINARY):
            log.info("write_not_done", **fields)
        elif isinstance(error, Unavailable):
            log.warning("write_failed", **fields)
        else:
            log.warning("write_refused", **fields)

    def beats_failed(self, count: int) -> None:
        """Note heartbeats, of a request with many, that the store could not renew."""
        times = self._thinning.failed("heartbeat", self._clock.monotonic())
        if times is not None:
            log.warning("heartbeats_failed", instances=count, because="the store is unavailable", times=times)
