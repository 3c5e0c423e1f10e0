"""The text of `/metrics`, made a bounded number of times a second.

To make it takes milliseconds of the thread that answers lookups, and anybody who may look up may scrape.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest

from registry_core.ports.clock import Clock

MOST_A_SECOND: Final = 10
_SECOND_S: Final = 1.0


class Exposition:
    """The metrics of a registry in Prometheus' text format."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._made_at: deque[float] = deque(maxlen=MOST_A_SECOND)
        self._last = b""

    def text(self) -> bytes:
        """Return the metrics as they are now; beyond the first ten calls within a second, as they were last made."""
        if self.is_due():
            self._last = generate_latest(self._registry)
            self._made_at.append(self._clock.monotonic())
        return self._last

    def is_due(self) -> bool:
        """Return whether the next text is made anew."""
        return len(self._made_at) < MOST_A_SECOND or self._clock.monotonic() - self._made_at[0] >= _SECOND_S
