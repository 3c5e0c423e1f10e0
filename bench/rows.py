"""A row of the benchmark's table: what was measured, and against what, in the same run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

_NS_PER_MS: Final = 1_000_000


class Spread(msgspec.Struct, frozen=True):
    """How a measurement is spread. Milliseconds."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class Row(msgspec.Struct, frozen=True):
    """One measurement, the named program that it is compared with, and the ratio of their medians."""

    name: str
    measured: Spread
    against: str
    baseline: Spread
    goal_p99_ms: float

    @property
    def ratio(self) -> float:
        return self.measured.p50_ms / self.baseline.p50_ms

    @property
    def met(self) -> bool:
        return self.measured.p99_ms <= self.goal_p99_ms


def spread(samples_ns: Sequence[int]) -> Spread:
    """Return how `samples_ns` (at least one) are spread, by the nearest rank."""
    ordered = sorted(samples_ns)

    def rank(percent: int) -> float:
        return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] / _NS_PER_MS

    return Spread(len(ordered), rank(50), rank(95), rank(99), ordered[-1] / _NS_PER_MS)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table for people."""
    head = ("", "n", "p50 ms", "p95 ms", "p99 ms", "max ms", "bare p50 ms", "ratio", "goal p99")
    lines = [
        (
            row.name,
            str(row.measured.count),
            f"{row.measured.p50_ms:.3f}",
            f"{row.measured.p95_ms:.3f}",
            f"{row.measured.p99_ms:.3f}",
            f"{row.measured.max_ms:.3f}",
            f"{row.baseline.p50_ms:.3f}",
            f"{row.ratio:.1f}",
            f"{row.goal_p99_ms:g} {'met' if row.met else 'MISSED'}",
        )
        for row in rows
    ]
    widths = [max(len(line[n]) for line in (head, *lines)) for n in range(len(head))]
    text = [
        "  ".join(cell.rjust(w) if n else cell.ljust(w) for n, (cell, w) in enumerate(zip(line, widths, strict=True)))
        for line in (head, *lines)
    ]
    return "\n".join([*text, "", *(f"{row.name}: the ratio is to {row.against}" for row in rows)])
