"""A replica's file descriptors: how many its port, and its connections to Redis, may use. Pure.

Redis comes first, up to half of all: without it no write is possible, however many clients are connected.
"""

from __future__ import annotations

from typing import Final

import msgspec

from registry_core.api.connections import ConnectionLimits
from registry_core.descriptors import DescriptorDemand, shared_out
from registry_core.store.redis.url import PoolTerms, RedisSettings

# Standard streams, the event loop, the listening sockets, files that are read for a moment, requests to the other
# replicas, and the connections that are accepted only to be refused.
RESERVED: Final = 100
LEAST_CONNECTIONS: Final = 16
# A tenth of the port's connections may be in the middle of their TLS handshakes, within these bounds.
LEAST_HANDSHAKES: Final = 4
MOST_HANDSHAKES: Final = 1000
LEAST_POOL: Final = 4
# Connections to one shard outside of the pool: the follower's, the writer's, and the probes of its servers.
_OF_A_SHARD: Final = 8
# For each Sentinel that is asked about a shard: the probe's, and the one that hears of switches.
_OF_A_SENTINEL: Final = 2


class ReplicaBudget(msgspec.Struct, frozen=True):
    """How many connections a replica accepts, and the settings of its store, with a pool that fits.

    With TLS, `handshakes` are those that are not set up yet; they come on top of `connections`.
    """

    connections: int
    redis: RedisSettings | None
    handshakes: int = 0


def replica_budget(limit: int | None, redis: RedisSettings | None, *, tls: bool = False) -> ReplicaBudget:
    """Return the budget of a replica that may open `limit` descriptors, and speaks TLS on its port or not."""
    budget = _without_tls(limit, redis)
    if not tls:
        return budget
    handshakes = min(max(budget.connections // 10, LEAST_HANDSHAKES), MOST_HANDSHAKES)
    return ReplicaBudget(budget.connections - handshakes, budget.redis, handshakes)


def _without_tls(limit: int | None, redis: RedisSettings | None) -> ReplicaBudget:
    available = None if limit is None else max(0, limit - RESERVED)
    wanted = DescriptorDemand(ConnectionLimits().connections, LEAST_CONNECTIONS)
    if redis is None:
        return ReplicaBudget(shared_out(available, {"port": wanted})["port"], None)
    shards, beside = len(redis.shards), _OF_A_SHARD + _OF_A_SENTINEL * len(redis.sentinels)
    demand = DescriptorDemand(shards * (redis.pool.most + beside), shards * (min(LEAST_POOL, redis.pool.most) + beside))
    given = shared_out(None if available is None else available // 2, {"redis": demand})["redis"]
    port = shared_out(None if available is None else max(0, available - given), {"port": wanted})["port"]
    most = given // shards - beside
    pool = PoolTerms(min(redis.pool.idle, most), most)
    return ReplicaBudget(port, msgspec.structs.replace(redis, pool=pool))


def enough_descriptors(redis: RedisSettings | None) -> int:
    """Return how many descriptors are enough for all that a replica may do at a time."""
    connections = RESERVED + ConnectionLimits().connections
    if redis is None:
        return connections
    beside = _OF_A_SHARD + _OF_A_SENTINEL * len(redis.sentinels)
    return connections + len(redis.shards) * (redis.pool.most + beside)
