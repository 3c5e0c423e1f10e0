"""`/health`: judges a replica by values measured elsewhere. Pure, and it makes up no values.

A value that was not measured is null; a part that does not exist (Redis behind the memory store) is left out.
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
    """Healthy below `degraded`, unhealthy above `unhealthy`. In percent."""

    degraded: float
    unhealthy: float


CPU: Final = Limits(degraded=70.0, unhealthy=85.0)
MEMORY: Final = Limits(degraded=80.0, unhealthy=90.0)
_ORDER: Final = tuple(Health)


def judged(value: float | None, limits: Limits) -> Health:
    """Return the health of `value`; a value that was not measured counts as healthy."""
    if value is None or value < limits.degraded:
        return Health.HEALTHY
    return Health.DEGRADED if value <= limits.unhealthy else Health.UNHEALTHY


def worst(*parts: Health) -> Health:
    """Return the health of the whole, which is that of its worst part."""
    return max(parts, key=_ORDER.index, default=Health.HEALTHY)


# A shard that has confirmed nothing for this long is not answering, whatever its connections look like.
SHARD_SILENT_S: Final = 10.0
# A breaker that has not closed for this long is more than a passing fault.
NOT_CLOSED_S: Final = 60.0
SLOW_MS: Final = 10.0
_BREAKERS: Final = (BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN)
_WORDS: Final = {Health.HEALTHY: "ok", Health.DEGRADED: "slow", Health.UNHEALTHY: "failing"}


def of_shards(shards: Sequence[ShardReport]) -> Health:
    """Return the health of the shards: losing one loses some services, losing all loses the store."""
    parts = [of_shard(shard) for shard in shards]
    if all(part is Health.UNHEALTHY for part in parts):
        return worst(*parts)
    return min(worst(*parts), Health.DEGRADED, key=_ORDER.index)


def of_shard(shard: ShardReport) -> Health:
    """Return the health of one shard. Notes on its servers do not degrade it yet; entries set aside do."""
    if _is_silent(shard) or shard.not_closed_s > NOT_CLOSED_S:
        return Health.UNHEALTHY
    slow = shard.latency_ms is not None and shard.latency_ms >= SLOW_MS
    partly = slow or shard.set_aside > 0 or shard.breaker is not BreakerState.CLOSED
    return Health.DEGRADED if partly else Health.HEALTHY


def redis_health(shards: Sequence[ShardReport]) -> RedisHealth:
    """Return the health of Redis over all shards."""
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
    """Return the worst breaker, and the last failure of any."""
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
