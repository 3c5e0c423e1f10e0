"""The rows of the benchmark's table: a measurement and its baseline from the same run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

from cli.table import aligned

_NS_PER_MS: Final = 1_000_000


class Spread(msgspec.Struct, frozen=True):
    """The distribution of a measurement, in milliseconds."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class Row(msgspec.Struct, frozen=True):
    """A measurement, the named program to compare it with, and the ratio of their medians."""

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


class Figure(msgspec.Struct, frozen=True):
    """A number, the same number for the named program to compare it with, and the goal."""

    name: str
    unit: str
    measured: float
    against: str
    baseline: float
    goal: float
    at_least: bool = False  # whether the goal is a minimum; otherwise it is a maximum

    @property
    def ratio(self) -> float:
        return self.measured / self.baseline if self.baseline else math.nan

    @property
    def met(self) -> bool:
        return self.measured >= self.goal if self.at_least else self.measured <= self.goal


Result: TypeAlias = Row | Figure


def spread(samples_ns: Sequence[int]) -> Spread:
    """Return the distribution of `samples_ns` (at least one) by nearest rank."""
    ordered = sorted(samples_ns)

    def rank(percent: int) -> float:
        return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] / _NS_PER_MS

    return Spread(len(ordered), rank(50), rank(95), rank(99), ordered[-1] / _NS_PER_MS)


def table(results: Sequence[Result]) -> str:
    """Return the results as tables for people: the spreads, and the figures."""
    rows = [each for each in results if isinstance(each, Row)]
    figures = [each for each in results if isinstance(each, Figure)]
    parts = ([_spreads(rows)] if rows else []) + ([_figures(figures)] if figures else [])
    named = (f"{each.name}: the ratio is to {each.against}" for each in results)
    return "\n".join(["\n\n".join(parts), "", *named])


def _figures(figures: Sequence[Figure]) -> str:
    lines = [
        (
            each.name,
            f"{each.measured:,.1f}",
            each.unit,
            f"{each.baseline:,.1f}",
            f"{each.ratio:.2f}",
            f"{'>=' if each.at_least else '<='} {each.goal:,g} {'met' if each.met else 'MISSED'}",
        )
        for each in figures
    ]
    return _aligned([("", "measured", "unit", "compared", "ratio", "goal"), *lines])


def _spreads(rows: Sequence[Row]) -> str:
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
    return _aligned([head, *lines])


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(aligned(lines, right=range(1, len(lines[0]))))
