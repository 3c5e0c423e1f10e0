"""A registry with 100,000 instances in Redis: its start, its memory, and the lookups during a failover."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop
from redis import Redis
from redis.exceptions import RedisError

from bench.fleet import fill
from bench.load import connected, request
from bench.machine import pin
from bench.middle import redis_pids, redis_shard, registry_on, resident_mb
from bench.rows import Figure, Result
from tests.redis_topology import Shard

INSTANCES: Final = 100_000
TEN_THOUSANDS: Final = INSTANCES / 10_000
SLOW_US: Final = 1_000
HEALTH: Final = request("GET", "/health")
LOOKUP: Final = request("GET", "/services/fleet-service-7")
TIMEOUT_S: Final = 60.0


def measure(_count: int) -> Sequence[Result]:
    """Return the figures."""
    with tempfile.TemporaryDirectory(prefix="vertice-bench-") as name, redis_shard(Path(name)) as shard:
        folder = Path(name)
        with Redis(port=shard.nodes[0].port) as client:
            client.config_set("slowlog-log-slower-than", SLOW_US)
            client.config_set("slowlog-max-len", 10_000)
            with registry_on(shard, folder) as (_, empty):
                empty_mb = resident_mb(empty.pid)
            fill(client, 0, INSTANCES)
            client.hset("vertice:meta", "born", "0")  # an old fleet
            client.slowlog_reset()
            stored_mb = float(client.info("memory")["used_memory"]) / 1024 / 1024
            began = time.perf_counter()
            with registry_on(shard, folder) as (port, registry):
                start_s = time.perf_counter() - began
                print(pin([registry.pid], beside=redis_pids(shard)))
                full_mb = resident_mb(registry.pid)
                quiet_ms, _ = uvloop.run(_worst(port, lambda: None, lambda _: False, 2.0))
                reread_ms, reread_s = uvloop.run(_worst(port, lambda: _promote(client), _moved(shard), TIMEOUT_S))
            longest_ms = max((entry["duration"] for entry in _slow(shard)), default=0) / 1000
            whole_ms = _in_one(client)
    return [
        Figure(
            "memory of a replica for each 10,000 instances",
            "MB",
            (full_mb - empty_mb) / TEN_THOUSANDS,
            "redis-server with the same instances",
            stored_mb / TEN_THOUSANDS,
            20,
        ),
        Figure(
            f"start with {INSTANCES:,} instances until it serves",
            "s",
            start_s,
            "one HGETALL of the same records, not decoded",
            whole_ms / 1000,
            10,
        ),
        Figure(
            f"reading {INSTANCES:,} instances anew after a failover",
            "s",
            reread_s,
            "the same HGETALL",
            whole_ms / 1000,
            10,
        ),
        Figure(
            "the slowest lookup meanwhile",
            "ms",
            reread_ms,
            "the slowest lookup in two quiet seconds",
            quiet_ms,
            50,
        ),
        Figure(
            "the longest command at Redis, by its own slow log",
            "ms",
            longest_ms,
            "the same HGETALL",
            whole_ms,
            20,
        ),
    ]


def _slow(shard: Shard) -> list[dict[str, Any]]:
    with Redis(port=shard.nodes[0].port) as client:
        return list(client.slowlog_get(10_000))


def _promote(client: Redis) -> None:
    """Make the server look new, as after a failover: a new run id, and every connection closed."""
    client.hset("vertice:meta", "run", "another")
    with contextlib.suppress(RedisError):
        client.client_kill_filter(_type="normal", skipme=True)


def _moved(shard: Shard) -> Callable[[dict[str, Any]], bool]:
    """Return a predicate that tells whether the registry's health shows the server's current epoch."""

    def moved(health: dict[str, Any]) -> bool:
        with Redis(port=shard.nodes[0].port) as client:
            epoch = client.hmget("vertice:meta", "epoch", "run")
        told: str = health["components"]["store"]["shards"][0]["epoch"]
        return bool(epoch[1] != b"another" and epoch[0] == told.encode())

    return moved


async def _worst(
    port: int, begin: Callable[[], None], over: Callable[[dict[str, Any]], bool], most_s: float
) -> tuple[float, float]:
    """Repeat lookups until `over`; return the slowest one in milliseconds and the total duration in seconds."""
    client = await connected(port)
    began = time.perf_counter()
    begin()
    worst_ns = number = 0
    try:
        while time.perf_counter() - began < most_s:
            asked = time.perf_counter_ns()
            await client.ask(LOOKUP)
            worst_ns = max(worst_ns, time.perf_counter_ns() - asked)
            number += 1
            if number % 200 == 0:
                answer = await client.ask(HEALTH)
                if over(msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])):
                    break
        return worst_ns / 1e6, time.perf_counter() - began
    finally:
        client.close()


def _in_one(client: Redis) -> float:
    began = time.perf_counter()
    client.hgetall("vertice:records")
    return (time.perf_counter() - began) * 1000
