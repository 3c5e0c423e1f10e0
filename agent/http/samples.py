"""What a part of the agent tells of itself when it is scraped: counters, gauges and histograms as values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

import msgspec

from registry_core.domain.connection_slots import Closing
from registry_core.telemetry.bucket_counts import BucketCounts

CLEAR: Final = "clear"
HOLDING: Final = "holding"


class CounterSample(msgspec.Struct, frozen=True):
    """A counter, with a value for each combination of label values."""

    name: str
    meaning: str
    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], float]


class GaugeSample(msgspec.Struct, frozen=True):
    """A gauge, with a value for each combination of label values."""

    name: str
    meaning: str
    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], float]


class HistogramSample(msgspec.Struct, frozen=True):
    """A histogram, with its buckets for each combination of label values."""

    name: str
    meaning: str
    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], BucketCounts]


Sample: TypeAlias = CounterSample | GaugeSample | HistogramSample


def gauge(name: str, meaning: str, value: float) -> GaugeSample:
    """Return a gauge without labels."""
    return GaugeSample(name, meaning, (), {(): value})


def counter(name: str, meaning: str, value: float) -> CounterSample:
    """Return a counter without labels."""
    return CounterSample(name, meaning, (), {(): value})


def by_word(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    """Return the values of the one label of a sample."""
    return {(word,): float(value) for word, value in values.items()}


def by_reason(closed: Mapping[Closing, int]) -> dict[tuple[str, ...], float]:
    """Return the number of closed connections for every reason, also for those that were not met."""
    return {(why.value,): float(closed.get(why, 0)) for why in Closing}


def one_of(current: str, states: Iterable[str]) -> dict[tuple[str, ...], float]:
    """Return 1 for the current state, and 0 for the others."""
    return {(state,): float(state == current) for state in states}
