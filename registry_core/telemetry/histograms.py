"""Histograms for code that runs in one thread, the event loop's: no lock, one search and three additions per value.

Each bucket remembers one of its latest values with the trace in which it was measured, which OpenMetrics calls an
exemplar (OpenMetrics 1.0, section "Exemplars").
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from prometheus_client.core import Exemplar, HistogramMetricFamily
from prometheus_client.registry import Collector

from registry_core.telemetry.bucket_counts import BucketCounts

# Chosen around the service levels: lookups 2/10/50 ms, registrations 10/50/100 ms.
SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class TracedCounts(BucketCounts):
    """The values of one series, and for each bucket the latest value that was measured in a trace."""

    __slots__ = ("_exemplars",)

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        super().__init__(bounds)
        self._exemplars: list[tuple[str, float, float] | None] = [None] * (len(bounds) + 1)

    def observe_in(self, trace: str | None, value: float) -> None:
        """Count `value`, which was measured in the trace of this id, if in any."""
        place = bisect_left(self.bounds, value)
        self._counts[place] += 1
        self.sum += value
        if trace is not None:
            self._exemplars[place] = (trace, value, time.time())

    def rows(self) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
        """Return each bound as text, how many values were not above it, and its exemplar if it has one."""
        return [
            (bound, count) if kept is None else (bound, count, Exemplar({"trace_id": kept[0]}, kept[1], kept[2]))
            for (bound, count), kept in zip(self.cumulative, self._exemplars, strict=True)
        ]


class LabelledHistogram(Collector):
    """A histogram with a series for each combination of label values. The caller bounds how many there are."""

    def __init__(self, name: str, meaning: str, labels: tuple[str, ...] = ()) -> None:
        self._name, self._meaning, self._labels = name, meaning, labels
        self._series: dict[tuple[str, ...], TracedCounts] = {}

    def of(self, *values: str) -> TracedCounts:
        """Return the series with these label values. Keep it where each microsecond counts."""
        found = self._series.get(values)
        if found is None:
            found = self._series[values] = TracedCounts()
        return found

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return the family, for a registry that is read."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        for values, counts in self._series.items():
            family.add_metric(values, counts.rows(), counts.sum)
        yield family
