"""A replica's file descriptors: how many its port, and its connections to Redis, may use. Pure.

Redis comes first, up to half of all: without it no write is possible, however many clients are connected.
"""

from __future__ import annotations

from typing import Final

import msgspec

from registry_core.api.connections import ConnectionLimits
from registry_core.descriptors import DescriptorDemand, shared_out
from registry_core.security.tls_port import HandshakeLimits
from registry_core.store.redis.url import PoolTerms, RedisSettings

# Standard streams, the event loop, the listening sockets, files that are read for a moment, requests to the other
# replicas, and the connections that are accepted only to be refused.
RESERVED: Final = 100
LEAST_CONNECTIONS: Final = 16
LEAST_POOL: Final = 4
# Connections to one shard outside of the pool: the follower's, the writer's, and the probes of its servers.
_OF_A_SHARD: Final = 8
# For each Sentinel that is asked about a shard: the probe's, and the one that hears of switches.
_OF_A_SENTINEL: Final = 2


class ReplicaBudget(msgspec.Struct, frozen=True):
    """How many connections a replica accepts, and the settings of its store, with a pool that fits.

    `handshakes` are connections that have not set up TLS yet; they are not among `connections`.
    """

    connections: int
    redis: RedisSettings | None
    handshakes: int = 0


def replica_budget(limit: int | None, redis: RedisSettings | None, *, with_tls: bool = False) -> ReplicaBudget:
    """Return the budget of a replica that may open `limit` descriptors."""
    available = None if limit is None else max(0, limit - RESERVED)
    port = {"port": DescriptorDemand(ConnectionLimits().connections, LEAST_CONNECTIONS)}
    if with_tls:
        port["handshakes"] = DescriptorDemand(HandshakeLimits().connections, LEAST_CONNECTIONS)
    if redis is None:
        shares = shared_out(available, port)
        return ReplicaBudget(shares["port"], None, shares.get("handshakes", 0))
    shards, beside = len(redis.shards), _OF_A_SHARD + _OF_A_SENTINEL * len(redis.sentinels)
    demand = DescriptorDemand(shards * (redis.pool.most + beside), shards * (min(LEAST_POOL, redis.pool.most) + beside))
    given = shared_out(None if available is None else available // 2, {"redis": demand})["redis"]
    shares = shared_out(None if available is None else max(0, available - given), port)
    most = given // shards - beside
    pool = PoolTerms(min(redis.pool.idle, most), most)
    return ReplicaBudget(shares["port"], msgspec.structs.replace(redis, pool=pool), shares.get("handshakes", 0))


def enough_descriptors(redis: RedisSettings | None) -> int:
    """Return how many descriptors are enough for all that a replica may do at a time."""
    connections = RESERVED + ConnectionLimits().connections + HandshakeLimits().connections
    if redis is None:
        return connections
    beside = _OF_A_SHARD + _OF_A_SENTINEL * len(redis.sentinels)
    return connections + len(redis.shards) * (redis.pool.most + beside)
