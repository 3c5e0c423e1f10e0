"""A histogram as an array of counts: for hot paths, where one observation may stand for many. Pure."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate


class BucketCounts:
    """How many values are in each bucket, and their sum. `bounds` are upper ones, rising; the last bucket has none."""

    __slots__ = ("_counts", "bounds", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.sum = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value` that many times."""
        self._counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(self._counts)

    @property
    def cumulative(self) -> list[tuple[str, int]]:
        """The upper bound of each bucket as Prometheus writes it, and the number of values up to it."""
        return list(zip((*(str(float(bound)) for bound in self.bounds), "+Inf"), accumulate(self._counts), strict=True))
