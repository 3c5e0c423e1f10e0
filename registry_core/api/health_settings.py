"""The settings of `/health`: from which value on a part is degraded, and when it is unhealthy."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from registry_core.setting_values import Values
from registry_core.settings import Setting, integer, positive_seconds

_RANGE: Final = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*-\s*(\d{1,6}(?:\.\d{1,3})?)", re.ASCII)
_OFF: Final = frozenset({"off", "none"})
MAX_PERCENT: Final = 100.0


class DegradedRange(msgspec.Struct, frozen=True):
    """The values at which a part is degraded, both ends included. On one side it is healthy, on the other unhealthy."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g}-{self.high:g}"


def _range(text: str) -> DegradedRange | None:
    """Read `70-85`; None for `off`. Raises ValueError, with the reason, for other texts."""
    word = text.strip().lower()
    if word in _OFF:
        return None
    match = _RANGE.fullmatch(word)
    if match is None:
        raise ValueError("it is neither two numbers, from-to, nor off")
    found = DegradedRange(float(match[1]), float(match[2]))
    if found.low > found.high:
        raise ValueError("its first number is above its second one")
    return found


def _percent_range(text: str) -> DegradedRange | None:
    found = _range(text)
    if found is not None and found.high > MAX_PERCENT:
        raise ValueError(f"a percentage is {MAX_PERCENT:g} at most")
    return found


HEALTH_REDIS_MS: Final[Setting[DegradedRange | None]] = Setting(
    "REGISTRY_HEALTH_REDIS_MS",
    _range,
    DegradedRange(10.0, 50.0),
    "`/health` is degraded while a shard's Redis takes this long to answer, in milliseconds: from-to; slower is as no "
    "answer. `off` does not judge it",
    "10-50",
)
HEALTH_REDIS_SILENT: Final = Setting(
    "REGISTRY_HEALTH_REDIS_SILENT",
    positive_seconds,
    10.0,
    "a shard that has confirmed nothing for longer than this does not answer",
    "10",
)
HEALTH_BREAKER_OPEN: Final = Setting(
    "REGISTRY_HEALTH_BREAKER_OPEN",
    positive_seconds,
    60.0,
    "a shard is unhealthy when its breaker opened longer ago than this and has not closed; degraded before that",
    "60",
)
HEALTH_HIT_RATE: Final[Setting[DegradedRange | None]] = Setting(
    "REGISTRY_HEALTH_HIT_RATE",
    _percent_range,
    DegradedRange(50.0, 70.0),
    "`/health` is degraded while the view could answer this percentage of the lookups of the last minute: from-to; "
    "below it is unhealthy, above it healthy. `off` does not judge it",
    "50-70",
)
HEALTH_LEAST_LOOKUPS: Final = Setting(
    "REGISTRY_HEALTH_LEAST_LOOKUPS",
    integer(1, 1_000_000),
    100,
    "the fewest lookups in a minute of which a rate is judged",
    "100",
)
HEALTH_MEMORY: Final[Setting[DegradedRange | None]] = Setting(
    "REGISTRY_HEALTH_MEMORY",
    _percent_range,
    DegradedRange(80.0, 90.0),
    "`/health` is degraded while this percentage of the machine's memory is in use: from-to; unhealthy above. `off` "
    "does not judge it",
    "80-90",
)
HEALTH_CPU: Final[Setting[DegradedRange | None]] = Setting(
    "REGISTRY_HEALTH_CPU",
    _percent_range,
    DegradedRange(70.0, 85.0),
    "`/health` is degraded while this process uses this percentage of one core, over a minute: from-to; unhealthy "
    "above. `off` does not judge it",
    "70-85",
)

HEALTH_SETTINGS: Final[tuple[Setting[Any], ...]] = (
    HEALTH_REDIS_MS,
    HEALTH_REDIS_SILENT,
    HEALTH_BREAKER_OPEN,
    HEALTH_HIT_RATE,
    HEALTH_LEAST_LOOKUPS,
    HEALTH_MEMORY,
    HEALTH_CPU,
)


class HealthLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The thresholds of one replica's health; a range that is None is not judged. Rates are in percent."""

    redis_ms: DegradedRange | None = HEALTH_REDIS_MS.default
    redis_silent_s: float = HEALTH_REDIS_SILENT.default
    breaker_open_s: float = HEALTH_BREAKER_OPEN.default
    hit_rate: DegradedRange | None = HEALTH_HIT_RATE.default
    least_lookups: int = HEALTH_LEAST_LOOKUPS.default
    memory: DegradedRange | None = HEALTH_MEMORY.default
    cpu: DegradedRange | None = HEALTH_CPU.default


def health_settings(values: Values) -> HealthLimits:
    """Return the thresholds that `values` describe."""
    return HealthLimits(
        redis_ms=values[HEALTH_REDIS_MS],
        redis_silent_s=values[HEALTH_REDIS_SILENT],
        breaker_open_s=values[HEALTH_BREAKER_OPEN],
        hit_rate=values[HEALTH_HIT_RATE],
        least_lookups=values[HEALTH_LEAST_LOOKUPS],
        memory=values[HEALTH_MEMORY],
        cpu=values[HEALTH_CPU],
    )
