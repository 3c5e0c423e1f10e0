"""The constants of the cost model: which there are, which row measures each, and of what each is the cost. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple


class Constant(NamedTuple):
    """One constant: the row that measures it, its unit, and what it is the cost of."""

    name: str
    row: str
    unit: str
    meaning: str


# A program that is woken for each request pays more for it than one that finds several at once. So a request's cost is
# measured at a slow and at a fast pace (requests a second), and lies between them at others.
PACES: Final[Mapping[str, tuple[float, float]]] = {
    "replica.beat_us": (50.0, 1_000.0),
    "replica.register_us": (20.0, 400.0),
    "replica.change_us": (20.0, 400.0),
    "replica.ack_us": (50.0, 1_000.0),
    "replica.report_us": (50.0, 1_000.0),
    "replica.lookup_us": (50.0, 1_000.0),
    "redis.change_us": (20.0, 400.0),
    "redis.change_read_us": (20.0, 400.0),
    "agent.query_us": (1_000.0, 10_000.0),
}


def at_pace(name: str, per_s: float) -> str:
    """Return the name of a constant that was measured at this pace."""
    return f"{name}@{per_s:g}"


def paced_cost(constants: Mapping[str, float], name: str, per_s: float) -> float:
    """Return the cost of one at this pace, between the slow and the fast one along the logarithm. Raises KeyError."""
    slow, fast = PACES[name]
    share = min(1.0, max(0.0, math.log(max(per_s, slow) / slow) / math.log(fast / slow)))
    least, most = constants[at_pace(name, slow)], constants[at_pace(name, fast)]
    return least + share * (most - least)


def _both(name: str, row: str, meaning: str) -> tuple[Constant, Constant]:
    slow, fast = (Constant(at_pace(name, pace), row, "us", f"{meaning}, at {pace:,.0f}/s") for pace in PACES[name])
    return slow, fast


CONSTANTS: Final = (
    # -- a replica, processor time
    Constant("replica.idle_us", "idle", "us/s", "a replica that holds nothing, without Redis"),
    Constant("replica.shard_us", "idle", "us/s", "each shard that it follows and sweeps"),
    *_both("replica.beat_us", "beats", "a request with heartbeats, on a kept connection"),
    Constant("replica.beat_instance_us", "beats", "us", "each instance in it, with reading the renewal back"),
    Constant("replica.connection_us", "beats", "us", "a new connection for a request"),
    Constant("replica.renewal_us", "beats", "us", "a renewal that another replica took, read from Redis"),
    *_both("replica.register_us", "changes", "a registration, acknowledged once a second Redis holds it"),
    *_both("replica.change_us", "changes", "a change that another replica took, read from Redis"),
    Constant("replica.deliver_us", "watchers", "us", "a change for each watcher"),
    Constant("replica.life_us", "watchers", "us", "a sign of life for each watcher"),
    Constant("replica.join_us", "joins", "us", "a watcher that joins, without its snapshot"),
    Constant("replica.join_instance_us", "joins", "us", "an instance of a snapshot for each watcher that joins"),
    Constant("replica.encode_us", "joins", "us", "an instance of a snapshot, encoded once for those who come together"),
    *_both("replica.ack_us", "acks", "an acknowledgement of a drain, on a kept connection"),
    *_both("replica.report_us", "acks", "an agent's report of twenty pairs, on a kept connection"),
    *_both("replica.lookup_us", "lookups", "a lookup of a service with ten instances"),
    # -- a replica, memory
    Constant("replica.memory", "memory", "MB", "a replica that holds nothing"),
    Constant("replica.memory_instance", "memory", "octets", "an instance, of ten of its service"),
    Constant("replica.memory_watcher", "watchers", "octets", "a watcher that has read what there is"),
    Constant("replica.memory_change", "changes", "octets", "a change in the history and in the journal"),
    # -- Redis
    Constant("redis.idle_us", "idle", "us/s", "a master, for each replica that is connected"),
    Constant("redis.renewal_us", "beats", "us", "a renewal, of a batch"),
    Constant("redis.renewal_read_us", "beats", "us", "a renewal, for each other replica that reads it"),
    *_both("redis.change_us", "changes", "a registration"),
    *_both("redis.change_read_us", "changes", "a registration, for each other replica that reads it"),
    Constant(
        "redis.memory", "memory", "MB", "a master that holds nothing, with the buffers of two replicas and a copy"
    ),
    Constant("redis.memory_instance", "memory", "octets", "an instance"),
    Constant("redis.memory_change", "changes", "octets", "a change in the stream"),
    Constant("redis.octets_renewal", "beats", "octets", "a renewal, both directions, with its copy"),
    Constant("redis.octets_renewal_read", "beats", "octets", "a renewal, for each other replica, both directions"),
    Constant("redis.octets_change", "changes", "octets", "a registration, both directions, with its copy"),
    Constant(
        "redis.octets_change_read", "changes", "octets", "a registration, for each other replica, both directions"
    ),
    # -- between agents and replicas
    Constant("octets.beat", "beats", "octets", "a request with heartbeats and its answer"),
    Constant("octets.beat_instance", "beats", "octets", "each instance in both"),
    Constant("octets.register", "changes", "octets", "a registration and its answer"),
    Constant("octets.change", "watchers", "octets", "a change, at each watcher"),
    Constant("octets.life", "watchers", "octets", "a sign of life, at each watcher"),
    Constant("octets.snapshot", "joins", "octets", "an instance of a snapshot, at each watcher that joins"),
    Constant("octets.ack", "acks", "octets", "an acknowledgement and its answer"),
    Constant("octets.report", "acks", "octets", "a report of twenty pairs and its answer"),
    Constant("octets.lookup", "lookups", "octets", "a lookup and its answer"),
    # -- an agent
    Constant("agent.idle_us", "agent", "us/s", "an agent without a check, its watch open, nothing happening"),
    Constant("agent.change_us", "agent", "us", "a change of a service in view, 10,000 instances in view"),
    Constant("agent.change_absent_us", "agent", "us", "a change of a service that is not in view"),
    Constant("agent.join_us", "agent", "us", "an instance of the snapshot"),
    Constant("agent.memory", "agent", "MB", "an agent that holds nothing"),
    Constant("agent.memory_instance", "agent", "octets", "an instance in view, of ten of its service"),
    *_both("agent.query_us", "dns", "a DNS query"),
)
# Measured only where a replica can follow another registry.
FOLLOWER_CONSTANTS: Final = (
    Constant("follower.idle_us", "followers", "us/s", "a follower that holds nothing"),
    Constant("follower.change_us", "followers", "us", "a change, read from the upstream's watch"),
    Constant(
        "follower.pass_us", "followers", "us", "a request with heartbeats that is passed on, on a kept connection"
    ),
    Constant("follower.pass_instance_us", "followers", "us", "each instance in it"),
    Constant("follower.memory", "followers", "MB", "a follower that holds nothing"),
    Constant("follower.memory_instance", "followers", "octets", "an instance, of ten of its service"),
)


def missing_from(values: Mapping[str, float]) -> list[str]:
    """Return the names of the constants that were not measured; those of followers may be missing together."""
    missing = [constant.name for constant in CONSTANTS if constant.name not in values]
    of_followers = [constant.name for constant in FOLLOWER_CONSTANTS if constant.name not in values]
    return missing + (of_followers if len(of_followers) < len(FOLLOWER_CONSTANTS) else [])
