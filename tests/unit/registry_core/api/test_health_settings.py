"""The thresholds of `/health` as settings, and on which side of each a part is how well."""

from __future__ import annotations

from typing import Any

import pytest

from registry_core.api.health import Health, judged, judged_rate, of_shard
from registry_core.api.health_settings import HEALTH_SETTINGS, DegradedRange, HealthLimits, health_settings
from registry_core.domain.breaker import BreakerState
from registry_core.errors import SettingsError
from registry_core.replica_settings import replica_settings
from registry_core.setting_values import values_of
from tests.samples import shard_report

HEALTHY, DEGRADED, UNHEALTHY = Health
LIMITS = HealthLimits()
A_LITTLE = 0.001


def test_the_defaults_are_the_documented_thresholds() -> None:
    assert (
        HealthLimits(
            redis_ms=DegradedRange(10, 50),
            redis_silent_s=10,
            breaker_open_s=60,
            hit_rate=DegradedRange(50, 70),
            least_lookups=100,
            memory=DegradedRange(80, 90),
            cpu=DegradedRange(70, 85),
        )
        == LIMITS
    )
    assert health_settings(values_of(HEALTH_SETTINGS, {}, ())) == LIMITS
    assert replica_settings({}).health == LIMITS


@pytest.mark.parametrize("part", ["cpu", "memory", "redis_ms"])
def test_a_load_is_judged_on_both_sides_of_both_ends(part: str) -> None:
    degraded: DegradedRange = getattr(LIMITS, part)
    below, above = degraded.low - A_LITTLE, degraded.high + A_LITTLE
    found = [judged(value, degraded) for value in (below, degraded.low, degraded.low + A_LITTLE)]
    assert found == [HEALTHY, DEGRADED, DEGRADED]
    found = [judged(value, degraded) for value in (degraded.high - A_LITTLE, degraded.high, above)]
    assert found == [DEGRADED, DEGRADED, UNHEALTHY]
    assert judged(None, degraded) is HEALTHY
    assert judged(above, None) is HEALTHY


def test_a_hit_rate_is_judged_on_both_sides_of_both_ends() -> None:
    rates = (70 + A_LITTLE, 70, 70 - A_LITTLE, 50 + A_LITTLE, 50, 50 - A_LITTLE)
    expected = [HEALTHY, DEGRADED, DEGRADED, DEGRADED, DEGRADED, UNHEALTHY]
    assert [judged_rate(rate, LIMITS.hit_rate) for rate in rates] == expected
    assert judged_rate(None, LIMITS.hit_rate) is HEALTHY
    assert judged_rate(0.0, None) is HEALTHY


@pytest.mark.parametrize(
    ("shard", "expected"),
    [
        ({"latency_ms": 10 - A_LITTLE}, HEALTHY),
        ({"latency_ms": 10.0}, DEGRADED),
        ({"latency_ms": 10 + A_LITTLE}, DEGRADED),
        ({"latency_ms": 50 - A_LITTLE}, DEGRADED),
        ({"latency_ms": 50.0}, DEGRADED),
        ({"latency_ms": 50 + A_LITTLE}, UNHEALTHY),
        ({"latency_ms": None}, HEALTHY),  # found just now, and not asked yet
        ({"age_s": 10 - A_LITTLE}, HEALTHY),
        ({"age_s": 10.0}, HEALTHY),
        ({"age_s": 10 + A_LITTLE}, UNHEALTHY),
        ({"age_s": None}, UNHEALTHY),  # no answer yet
        ({"breaker": BreakerState.CLOSED}, HEALTHY),
        ({"breaker": BreakerState.HALF_OPEN, "not_closed_s": 1.0}, DEGRADED),
        ({"breaker": BreakerState.OPEN, "not_closed_s": 60 - A_LITTLE}, DEGRADED),
        ({"breaker": BreakerState.OPEN, "not_closed_s": 60.0}, DEGRADED),
        ({"breaker": BreakerState.OPEN, "not_closed_s": 60 + A_LITTLE}, UNHEALTHY),
    ],
)
def test_a_shard_is_judged_on_both_sides_of_each_threshold(shard: dict[str, Any], expected: Health) -> None:
    assert of_shard(shard_report(**shard), LIMITS) is expected


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("REGISTRY_HEALTH_REDIS_MS", "20-100", "redis_ms", DegradedRange(20, 100)),
        ("REGISTRY_HEALTH_REDIS_MS", "off", "redis_ms", None),
        ("REGISTRY_HEALTH_REDIS_SILENT", "30", "redis_silent_s", 30),
        ("REGISTRY_HEALTH_BREAKER_OPEN", "2m", "breaker_open_s", 120),
        ("REGISTRY_HEALTH_HIT_RATE", "10.5 - 20", "hit_rate", DegradedRange(10.5, 20)),
        ("REGISTRY_HEALTH_LEAST_LOOKUPS", "5", "least_lookups", 5),
        ("REGISTRY_HEALTH_MEMORY", "OFF", "memory", None),
        ("REGISTRY_HEALTH_CPU", "0-100", "cpu", DegradedRange(0, 100)),
    ],
)
def test_each_threshold_is_a_setting(name: str, text: str, field: str, value: object) -> None:
    assert getattr(replica_settings({name: text}).health, field) == value


@pytest.mark.parametrize(
    ("name", "text", "because"),
    [
        ("REGISTRY_HEALTH_CPU", "85-70", "its first number is above its second one"),
        ("REGISTRY_HEALTH_CPU", "70-101", "a percentage is 100 at most"),
        ("REGISTRY_HEALTH_CPU", "70", "neither two numbers, from-to, nor off"),
        ("REGISTRY_HEALTH_REDIS_MS", "-1-5", "neither two numbers, from-to, nor off"),
        ("REGISTRY_HEALTH_REDIS_MS", "nan-5", "neither two numbers, from-to, nor off"),
        ("REGISTRY_HEALTH_LEAST_LOOKUPS", "0", "not between"),
        ("REGISTRY_HEALTH_BREAKER_OPEN", "0", "above zero"),
    ],
)
def test_a_wrong_threshold_is_refused_with_its_reason(name: str, text: str, because: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        replica_settings({name: text})
    assert name in str(refusal.value)
    assert because in str(refusal.value)
