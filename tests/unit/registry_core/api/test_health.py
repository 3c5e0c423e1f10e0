"""How `/health` judges the shards: which faults degrade a replica, and which make it unhealthy."""

from __future__ import annotations

import pytest

from registry_core.api.health import Health, breaker_health, of_shard, of_shards, redis_health
from registry_core.api.health_settings import HealthLimits
from registry_core.domain.breaker import BreakerState
from registry_core.ports.reports import PoolReport, ShardReport

LIMITS = HealthLimits()


def shard(
    name: str = "a",
    *,
    age_s: float | None = 0.1,
    breaker: BreakerState = BreakerState.CLOSED,
    failures: int = 0,
    last_failure_at: float | None = None,
    not_closed_s: float = 0.0,
    latency_ms: float | None = 0.4,
    set_aside: int = 0,
    notes: tuple[str, ...] = (),
) -> ShardReport:
    return ShardReport(
        shard=name,
        master="10.0.0.1:6379" if latency_ms is not None else "",
        problem="",
        epoch="e",
        revision=1,
        age_s=age_s,
        writes_waiting=0,
        breaker=breaker,
        breaker_failures=failures,
        last_failure="no route" if last_failure_at is not None else "",
        last_failure_at=last_failure_at,
        not_closed_s=not_closed_s,
        latency_ms=latency_ms,
        connection_pool=PoolReport(1, 5, 50) if latency_ms is not None else None,
        set_aside=set_aside,
        notes=notes,
    )


@pytest.mark.parametrize(
    ("report", "health"),
    [
        (shard(), Health.HEALTHY),
        (shard(latency_ms=None), Health.HEALTHY),  # found just now, and not polled again yet
        (shard(latency_ms=9.9), Health.HEALTHY),
        (shard(latency_ms=10.0), Health.DEGRADED),
        (shard(breaker=BreakerState.HALF_OPEN), Health.DEGRADED),
        (shard(breaker=BreakerState.OPEN, not_closed_s=60.0), Health.DEGRADED),
        (shard(breaker=BreakerState.HALF_OPEN, not_closed_s=60.1), Health.UNHEALTHY),
        (shard(age_s=10.1), Health.UNHEALTHY),
        (shard(age_s=None), Health.UNHEALTHY),
        (shard(set_aside=1), Health.DEGRADED),
        (shard(set_aside=100_000), Health.DEGRADED),
        (shard(set_aside=1, age_s=None), Health.UNHEALTHY),
        (shard(notes=("no persistence", "maxmemory-policy is allkeys-lru")), Health.HEALTHY),
    ],
)
def test_a_shard_is_judged_by_its_answers_its_breaker_and_its_latency(report: ShardReport, health: Health) -> None:
    assert of_shard(report, LIMITS) is health


def test_one_lost_shard_is_degraded_and_all_lost_shards_are_unhealthy() -> None:
    away = shard("b", age_s=None, latency_ms=None)
    assert of_shards([shard(), away], LIMITS) is Health.DEGRADED
    assert of_shards([away, away], LIMITS) is Health.UNHEALTHY
    assert of_shards([shard(), shard("b")], LIMITS) is Health.HEALTHY
    assert of_shards([], LIMITS) is Health.HEALTHY  # a store in this process
    assert of_shards([shard(set_aside=1), shard("b", set_aside=1)], LIMITS) is Health.DEGRADED


def test_latency_is_that_of_the_slowest_shard_and_pools_add_up() -> None:
    health = redis_health([shard(latency_ms=0.5), shard("b", latency_ms=12.0)], LIMITS)
    assert (health.status, health.latency_ms) == ("slow", 12.0)
    assert health.connection_pool == PoolReport(2, 10, 100)
    assert redis_health([shard(), shard("b", age_s=11.0, latency_ms=None)], LIMITS).status == "failing"
    silent = redis_health([shard(age_s=None, latency_ms=None)], LIMITS)
    assert (silent.status, silent.latency_ms, silent.connection_pool) == ("failing", None, PoolReport(0, 0, 0))


def test_the_worst_breaker_is_shown_with_the_last_failure_of_any() -> None:
    open_ = shard("b", breaker=BreakerState.OPEN, last_failure_at=1_764_000_000.0)
    trying = shard("c", breaker=BreakerState.HALF_OPEN, failures=2, last_failure_at=1_763_000_000.0)
    health = breaker_health([shard(), open_, trying])
    assert (health.state, health.failure_count) == (BreakerState.OPEN, 2)
    assert (health.last_failure, health.reason) == ("2025-11-24T16:00:00+00:00", "no route")
    assert breaker_health([shard()]).last_failure is None
