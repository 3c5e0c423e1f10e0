"""Histograms for code that runs in one thread, the event loop's: no lock, one search and three additions per value.

Each bucket remembers one of its latest values with the trace in which it was measured, which OpenMetrics calls an
exemplar (OpenMetrics 1.0, section "Exemplars").
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from prometheus_client.core import Exemplar, HistogramMetricFamily
from prometheus_client.registry import Collector

# Chosen around the service levels: lookups 2/10/50 ms, registrations 10/50/100 ms.
SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Buckets:
    """The values of one series, counted by the smallest bound that is not below them."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        """`bounds` rise; there is one more bucket for values above the last one."""
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._exemplars: list[tuple[str, float, float] | None] = [None] * len(self._counts)
        self._sum = 0.0

    def observe(self, value: float, trace: str | None = None) -> None:
        """Count `value`, which was measured in the trace of this id, if in any."""
        place = bisect_left(self._bounds, value)
        self._counts[place] += 1
        self._sum += value
        if trace is not None:
            self._exemplars[place] = (trace, value, time.time())

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    @property
    def sum(self) -> float:
        """The sum of all values."""
        return self._sum

    def cumulative(self) -> list[tuple[str, float, Exemplar] | tuple[str, float]]:
        """Return each bound as text, how many values were not above it, and its exemplar if it has one."""
        rows: list[tuple[str, float, Exemplar] | tuple[str, float]] = []
        reached = 0
        for bound, count, kept in zip((*self._bounds, math.inf), self._counts, self._exemplars, strict=True):
            reached += count
            name = "+Inf" if bound == math.inf else str(float(bound))
            if kept is None:
                rows.append((name, reached))
            else:
                trace, value, at = kept
                rows.append((name, reached, Exemplar({"trace_id": trace}, value, at)))
        return rows


def histogram_family(
    name: str, meaning: str, labels: Sequence[str], series: Mapping[tuple[str, ...], Buckets]
) -> HistogramMetricFamily:
    """Return what a collector yields for a histogram with these series, by their label values."""
    family = HistogramMetricFamily(name, meaning, labels=labels)
    for values, buckets in series.items():
        family.add_metric(values, buckets.cumulative(), buckets.sum)
    return family


class LabelledHistogram(Collector):
    """A histogram with a series for each combination of label values. The caller bounds how many there are."""

    def __init__(self, name: str, meaning: str, labels: Sequence[str] = (), bounds: Sequence[float] = SECONDS) -> None:
        self._name, self._meaning, self._labels, self._bounds = name, meaning, tuple(labels), tuple(bounds)
        self._series: dict[tuple[str, ...], Buckets] = {}

    def of(self, *values: str) -> Buckets:
        """Return the series with these label values. Keep it where each microsecond counts."""
        found = self._series.get(values)
        if found is None:
            found = self._series[values] = Buckets(self._bounds)
        return found

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return the family, for a registry that is read."""
        yield histogram_family(self._name, self._meaning, self._labels, self._series)
