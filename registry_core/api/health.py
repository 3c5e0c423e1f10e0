"""`/health`: how a replica is, judged from what was measured elsewhere. Pure, and nothing is made up.

What was not measured is null; what does not exist (a Redis behind the memory store) is left out.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from registry_core.api.health_schemas import CircuitBreakerHealth, RedisHealth
from registry_core.domain.breaker import BreakerState
from registry_core.ports.reports import PoolReport, ShardReport


class Health(enum.StrEnum):
    """The three answers, best first."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class Limits(msgspec.Struct, frozen=True):
    """Below `degraded` all is well; above `unhealthy` it is not. In percent."""

    degraded: float
    unhealthy: float


CPU: Final = Limits(degraded=70.0, unhealthy=85.0)
MEMORY: Final = Limits(degraded=80.0, unhealthy=90.0)
_ORDER: Final = tuple(Health)


def judged(value: float | None, limits: Limits) -> Health:
    """Return how good `value` is; what was not measured is no reason to complain."""
    if value is None or value < limits.degraded:
        return Health.HEALTHY
    return Health.DEGRADED if value <= limits.unhealthy else Health.UNHEALTHY


def worst(*parts: Health) -> Health:
    """Return the whole's health, which is that of its worst part."""
    return max(parts, key=_ORDER.index, default=Health.HEALTHY)


# A shard that has confirmed nothing for so long does not answer, whatever its connections look like.
SHARD_SILENT_S: Final = 10.0
# A breaker that has not closed again for so long is no passing trouble.
NOT_CLOSED_S: Final = 60.0
SLOW_MS: Final = 10.0
_BREAKERS: Final = (BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN)
_WORDS: Final = {Health.HEALTHY: "ok", Health.DEGRADED: "slow", Health.UNHEALTHY: "failing"}


def of_shards(shards: Sequence[ShardReport]) -> Health:
    """Return how good the shards are: one that is away is a part of the services, all are the whole store."""
    parts = [of_shard(shard) for shard in shards]
    if all(part is Health.UNHEALTHY for part in parts):
        return worst(*parts)
    return min(worst(*parts), Health.DEGRADED, key=_ORDER.index)


def of_shard(shard: ShardReport) -> Health:
    """Return how good one shard is. Notes on its servers are no trouble yet; what was set aside is missing already."""
    if _is_silent(shard) or shard.not_closed_s > NOT_CLOSED_S:
        return Health.UNHEALTHY
    slow = shard.latency_ms is not None and shard.latency_ms >= SLOW_MS
    partly = slow or shard.set_aside > 0 or shard.breaker is not BreakerState.CLOSED
    return Health.DEGRADED if partly else Health.HEALTHY


def redis_health(shards: Sequence[ShardReport]) -> RedisHealth:
    """Return how Redis answers, all shards taken together."""
    latencies = [shard.latency_ms for shard in shards if shard.latency_ms is not None]
    pools = [shard.connection_pool for shard in shards if shard.connection_pool is not None]
    latency_ms = max(latencies, default=None)
    slow = latency_ms is not None and latency_ms >= SLOW_MS
    silent = any(_is_silent(shard) for shard in shards)
    return RedisHealth(
        status=_WORDS[Health.UNHEALTHY if silent else Health.DEGRADED if slow else Health.HEALTHY],
        latency_ms=latency_ms,
        connection_pool=PoolReport(
            in_use=sum(pool.in_use for pool in pools),
            idle=sum(pool.idle for pool in pools),
            most=sum(pool.most for pool in pools),
        ),
    )


def breaker_health(shards: Sequence[ShardReport]) -> CircuitBreakerHealth:
    """Return the most worried breaker, and the last failure of any."""
    last = max(shards, key=lambda shard: shard.last_failure_at or 0.0)
    at = last.last_failure_at
    return CircuitBreakerHealth(
        state=max((shard.breaker for shard in shards), key=_BREAKERS.index),
        failure_count=max(shard.breaker_failures for shard in shards),
        last_failure=None if at is None else datetime.fromtimestamp(at, UTC).isoformat(),
        reason=last.last_failure,
    )


def _is_silent(shard: ShardReport) -> bool:
    return shard.age_s is None or shard.age_s > SHARD_SILENT_S
