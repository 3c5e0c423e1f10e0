"""`/health`: how a replica is, judged from what was measured elsewhere. Pure, and nothing is made up.

What was not measured is null; what does not exist (a Redis behind the memory store) is left out.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

import msgspec

from registry_core.domain.breaker import BreakerState
from registry_core.ports import ShardReport


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


def of_shards(shards: Sequence[ShardReport]) -> Health:
    """Return how good the shards are: one that is away is a part of the services, all are the whole store."""
    away = [
        shard
        for shard in shards
        if shard.age_s is None or shard.age_s > SHARD_SILENT_S or shard.breaker is BreakerState.OPEN
    ]
    if not away:
        trying = any(shard.breaker is BreakerState.HALF_OPEN for shard in shards)
        return Health.DEGRADED if trying else Health.HEALTHY
    return Health.UNHEALTHY if len(away) == len(shards) else Health.DEGRADED
