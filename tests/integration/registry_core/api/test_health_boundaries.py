"""`GET /health` over HTTP on both sides of its thresholds, and probes that Redis does not concern."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from registry_core.api.health_settings import DegradedRange, HealthLimits
from registry_core.replica_settings import replica_settings
from registry_core.store.redis.store import RedisStore
from registry_core.telemetry.system import SystemSample
from tests.integration.replicas import READY, Api, serving
from tests.programs import eventually, free_port
from tests.redis_topology import redis_server

# What this machine is busy with does not matter here.
QUIET = HealthLimits(memory=None, cpu=None)


async def health(api: Api) -> tuple[int, str, Any]:
    answer = await api.call("GET", "/health")
    return answer.status, answer.body["status"], answer.body


async def test_health_has_every_part_with_its_fields(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        environment = {"REGISTRY_LISTEN": "127.0.0.1:0", "REGISTRY_STORE": server.url, "REGISTRY_WARMING": "0"}
        async with serving(replica_settings(environment)) as api:
            await api.register()
            assert isinstance(api.replica.store, RedisStore)
            await eventually(
                lambda: any(shard.latency_ms is not None for shard in api.replica.store.shards()), "it was asked"
            )
            _, _, said = await health(api)
    assert said.keys() >= {"status", "timestamp", "uptime_seconds", "components", "active_services"}
    parts = said["components"]
    assert parts["redis"].keys() >= {"status", "latency_ms", "connection_pool"}
    assert parts["circuit_breaker"].keys() >= {"state", "failure_count", "last_failure"}
    assert parts["cache"].keys() >= {"size", "hit_rate", "memory_mb", "oldest_entry_age_s"}
    assert parts["system"].keys() >= {"cpu_percent", "memory_percent", "tasks"}
    assert (said["active_services"], parts["cache"]["size"], parts["cache"]["hit_rate"]) == (1, 1, None)
    assert parts["cache"]["memory_mb"] > 0
    assert 0 <= parts["cache"]["oldest_entry_age_s"] < 30


async def test_the_hit_rate_counts_from_a_hundred_lookups_on_and_has_three_ranges() -> None:
    settings = msgspec.structs.replace(READY, warming_s=3600.0, health=QUIET)
    async with serving(settings) as api:

        async def look_up(name: str, times: int, status: int) -> None:
            for _ in range(times):
                assert (await api.call("GET", f"/services/{name}")).status == status

        await api.register()
        await look_up("nobody", 99, 503)
        status, word, said = await health(api)
        assert (status, word, said["components"]["cache"]["hit_rate"]) == (200, "healthy", None)
        await look_up("nobody", 1, 503)
        status, word, said = await health(api)
        assert (status, word, said["components"]["cache"]["hit_rate"]) == (503, "unhealthy", 0.0)
        assert said["reasons"] == [
            "only 0 % of the lookups of the last minute could be answered: the others were unknown"
        ]
        await look_up("ip_intel", 99, 200)
        assert (await health(api))[:2] == (503, "unhealthy")  # 99 of 199
        await look_up("ip_intel", 1, 200)
        assert (await health(api))[:2] == (200, "degraded")  # 50 %
        await look_up("ip_intel", 133, 200)
        assert (await health(api))[:2] == (200, "degraded")  # 233 of 333
        await look_up("ip_intel", 1, 200)
        assert (await health(api))[:2] == (200, "healthy")  # 234 of 334: above 70 %
        assert (await api.call("GET", "/ready")).status == 200


@pytest.mark.parametrize(
    ("cpu", "memory", "word"),
    [
        (69.9, 79.9, "healthy"),
        (70.0, 0.0, "degraded"),
        (0.0, 80.0, "degraded"),
        (85.0, 90.0, "degraded"),
        (85.1, 0.0, "unhealthy"),
        (0.0, 90.1, "unhealthy"),
    ],
)
async def test_processor_and_memory_are_judged_at_their_thresholds(cpu: float, memory: float, word: str) -> None:
    async with serving(READY) as api:
        sampler = api.replica.health._sampler
        await eventually(lambda: sampler.latest is not None, "a sample was taken")
        sampler._cpu.clear()
        sampler._cpu.append(cpu)
        sampler.latest = SystemSample(cpu, 1, memory)
        status, said, body = await health(api)
        assert (said, status) == (word, 503 if word == "unhealthy" else 200)
        assert body["components"]["system"].keys() == {"cpu_percent", "memory_percent", "tasks"}


async def test_thresholds_come_from_the_settings() -> None:
    settings = replica_settings(
        {
            "REGISTRY_LISTEN": "127.0.0.1:0",
            "REGISTRY_WARMING": "0",
            "REGISTRY_HEALTH_CPU": "1-2",
            "REGISTRY_HEALTH_MEMORY": "off",
        }
    )
    assert settings.health.cpu == DegradedRange(1, 2)
    async with serving(settings) as api:
        sampler = api.replica.health._sampler
        await eventually(lambda: sampler.latest is not None, "a sample was taken")
        sampler._cpu.clear()
        sampler._cpu.append(2.1)
        assert (await health(api))[:2] == (503, "unhealthy")


async def probes(api: Api) -> list[int]:
    """Return the answers of both probes, asked at once; none may wait for anything."""
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*(api.call("GET", path) for path in ("/live", "/ready")))
    return [answer.status for answer in answers]


@pytest.mark.parametrize("fault", ["stopped", "paused"])
async def test_probes_do_not_depend_on_redis(tmp_path: Path, fault: str) -> None:
    with redis_server(tmp_path / "redis") as server:
        environment = {
            "REGISTRY_LISTEN": "127.0.0.1:0",
            "REGISTRY_STORE": server.url,
            "REGISTRY_WARMING": "0",
            "REGISTRY_HEALTH_REDIS_SILENT": "500ms",
            "REGISTRY_HEALTH_MEMORY": "off",
            "REGISTRY_HEALTH_CPU": "off",
        }
        async with serving(replica_settings(environment)) as api:
            await api.register()
            assert await probes(api) == [200, 200]
            if fault == "stopped":
                server.kill()
            else:
                server.pause()
            async with asyncio.timeout(20):
                while (await health(api))[:2] != (503, "unhealthy"):
                    assert await probes(api) == [200, 200]
                    await asyncio.sleep(0.05)
            _, _, said = await health(api)
            assert said["components"]["redis"]["status"] == "failing"
            assert await probes(api) == [200, 200]
            assert (await api.call("GET", "/services/ip_intel")).status == 200
            if fault == "paused":
                server.resume()


async def test_a_replica_that_is_refused_by_redis_lives_and_is_ready_once_it_has_read_it(tmp_path: Path) -> None:
    refused = replica_settings(
        {
            "REGISTRY_LISTEN": "127.0.0.1:0",
            "REGISTRY_STORE": f"redis://127.0.0.1:{free_port()}",
            "REGISTRY_WARMING": "0",
        }
    )
    async with serving(refused) as api:
        # It has nothing to answer lookups with, unlike one whose Redis went away later.
        assert await probes(api) == [200, 503]
        assert (await health(api))[:2] == (503, "unhealthy")
    with redis_server(tmp_path / "redis") as server:
        settings = replica_settings(
            {
                "REGISTRY_LISTEN": "127.0.0.1:0",
                "REGISTRY_STORE": server.url,
                "REGISTRY_WARMING": "0",
            }
        )
        async with serving(settings) as api:
            await api.register()
            server.kill()  # from now on each connection is refused
            assert await probes(api) == [200, 200]
