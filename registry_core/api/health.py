"""`/health`: judges a replica by values measured elsewhere. Pure, and it makes up no values.

A value that was not measured is null; a part that does not exist (Redis behind the memory store) is left out.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from registry_core.api.health_schemas import CircuitBreakerHealth, RedisHealth
from registry_core.api.health_settings import DegradedRange, HealthLimits
from registry_core.domain.breaker import BreakerState
from registry_core.ports.reports import PoolReport, ShardReport


class Health(enum.StrEnum):
    """The three answers, best first."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


_ORDER: Final = tuple(Health)


def judged(value: float | None, degraded: DegradedRange | None) -> Health:
    """Return the health of a value that is to be low. One that was not measured, or is not judged, is healthy."""
    if value is None or degraded is None or value < degraded.low:
        return Health.HEALTHY
    return Health.DEGRADED if value <= degraded.high else Health.UNHEALTHY


def judged_rate(percent: float | None, degraded: DegradedRange | None) -> Health:
    """Return the health of a rate that is to be high. One that was not measured, or is not judged, is healthy."""
    if percent is None or degraded is None or percent > degraded.high:
        return Health.HEALTHY
    return Health.DEGRADED if percent >= degraded.low else Health.UNHEALTHY


def worst(*parts: Health) -> Health:
    """Return the health of the whole, which is that of its worst part."""
    return max(parts, key=_ORDER.index, default=Health.HEALTHY)


_BREAKERS: Final = (BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN)
_WORDS: Final = {Health.HEALTHY: "ok", Health.DEGRADED: "slow", Health.UNHEALTHY: "failing"}


def of_shards(shards: Sequence[ShardReport], limits: HealthLimits) -> Health:
    """Return the health of the shards: losing one loses some services, losing all loses the store."""
    parts = [of_shard(shard, limits) for shard in shards]
    if all(part is Health.UNHEALTHY for part in parts):
        return worst(*parts)
    return min(worst(*parts), Health.DEGRADED, key=_ORDER.index)


def of_shard(shard: ShardReport, limits: HealthLimits) -> Health:
    """Return the health of one shard. Notes on its servers do not degrade it yet; entries set aside do."""
    partly = shard.set_aside > 0 or shard.breaker is not BreakerState.CLOSED
    return worst(
        _answers(shard, limits),
        Health.UNHEALTHY if shard.not_closed_s > limits.breaker_open_s else Health.HEALTHY,
        Health.DEGRADED if partly else Health.HEALTHY,
    )


def redis_health(shards: Sequence[ShardReport], limits: HealthLimits) -> RedisHealth:
    """Return the health of Redis over all shards."""
    latencies = [shard.latency_ms for shard in shards if shard.latency_ms is not None]
    pools = [shard.connection_pool for shard in shards if shard.connection_pool is not None]
    return RedisHealth(
        status=_WORDS[worst(*(_answers(shard, limits) for shard in shards))],
        latency_ms=max(latencies, default=None),
        connection_pool=PoolReport(
            in_use=sum(pool.in_use for pool in pools),
            idle=sum(pool.idle for pool in pools),
            most=sum(pool.most for pool in pools),
        ),
    )


def breaker_health(shards: Sequence[ShardReport]) -> CircuitBreakerHealth:
    """Return the worst breaker, and the last failure of any."""
    last = max(shards, key=lambda shard: shard.last_failure_at or 0.0)
    at = last.last_failure_at
    return CircuitBreakerHealth(
        state=max((shard.breaker for shard in shards), key=_BREAKERS.index),
        failure_count=max(shard.breaker_failures for shard in shards),
        last_failure=None if at is None else datetime.fromtimestamp(at, UTC).isoformat(),
        reason=last.last_failure,
    )


def _answers(shard: ShardReport, limits: HealthLimits) -> Health:
    """Return how a shard's Redis answers: not at all if it confirms nothing, whatever its connections look like."""
    if shard.age_s is None or shard.age_s > limits.redis_silent_s:
        return Health.UNHEALTHY
    return judged(shard.latency_ms, limits.redis_ms)
