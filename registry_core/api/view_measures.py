"""Measures the view of one replica as the cache that it is: its hit rate, its memory, and the age of what it holds.

A hit is a lookup that the view could answer, also with the certainty that a service does not exist: a client that asks
for names of its own making must not make a replica look ill. A miss is a lookup whose answer was unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final

from registry_core.api.view import ReplicaView
from registry_core.domain.footprint import SERVICE_BYTES, instance_bytes
from registry_core.ports.clock import Clock
from registry_core.telemetry.hit_rate import HitRate
from registry_core.telemetry.metrics import ABSENT, FOUND, UNKNOWN

# Instances measured at a time, spread over the whole catalogue: less than a millisecond of work.
MEASURED: Final = 128


class ViewMeasures:
    """The measures of `view`. `lookups` returns how many lookups there were, by result."""

    def __init__(
        self, view: ReplicaView, lookups: Callable[[], Mapping[str, float]], clock: Clock, *, least_lookups: int
    ) -> None:
        self._view = view
        self._lookups = lookups
        self._clock = clock
        self._rate = HitRate(least_lookups)
        self._instance_bytes = 0.0
        self._measured = 0  # how many instances there were then

    def look(self) -> None:
        """Note the counts of lookups, and measure some instances again if the catalogue has changed in size."""
        self._rate.note(self._clock.monotonic(), self.hits, self.misses)
        count = len(self._view.catalog)
        if not count or abs(count - self._measured) * 8 < self._measured:
            return
        some = list(islice(self._view.catalog, 0, None, max(1, count // MEASURED)))
        self._instance_bytes, self._measured = sum(map(instance_bytes, some)) / len(some), count

    @property
    def hits(self) -> float:
        """Lookups that the view could answer, since the start."""
        lookups = self._lookups()
        return lookups[FOUND] + lookups[ABSENT]

    @property
    def misses(self) -> float:
        """Lookups that it could not answer, since the start."""
        return self._lookups()[UNKNOWN]

    @property
    def hit_rate(self) -> float | None:
        """The rate of hits over the last minute, 0 to 1; None when too few lookups came."""
        return self._rate.rate(self.hits, self.misses)

    @property
    def bytes(self) -> float:
        """About how much memory the catalogue takes."""
        catalog = self._view.catalog
        if catalog and not self._measured:
            self.look()
        return len(catalog) * self._instance_bytes + catalog.service_count * SERVICE_BYTES
