"""A replica on Redis: what `/health` and `/metrics` show of the shards, healthy and unreachable."""

from __future__ import annotations

from pathlib import Path

import msgspec

from registry_core.domain.breaker import BreakerTerms
from registry_core.replica_settings import replica_settings
from registry_core.store.redis.store import RedisStore
from tests.integration.replicas import serving
from tests.programs import eventually
from tests.redis_topology import redis_server


async def test_health_and_metrics_show_how_redis_answers(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        environment = {
            "REGISTRY_LISTEN": "127.0.0.1:0",
            "REGISTRY_STORE": server.url,
            "REGISTRY_REDIS_POOL": "3-20",
            "REGISTRY_WARMING": "0",
        }
        settings = msgspec.structs.replace(
            replica_settings(environment),
            redis_timeout_s=0.3,
            redis_retries_s=(0.1,),
            breaker=BreakerTerms(failures=1),
        )
        async with serving(settings) as api:
            assert isinstance(api.replica.store, RedisStore)
            await eventually(
                lambda: any(shard.latency_ms is not None for shard in api.replica.store.shards()), "it was asked"
            )
            await api.register()
            components = (await api.call("GET", "/health")).body["components"]
            assert components["redis"]["status"] in ("ok", "slow")
            assert components["redis"]["latency_ms"] > 0
            pool = components["redis"]["connection_pool"]
            assert pool["most"] == 20
            assert 3 <= pool["in_use"] + pool["idle"] <= 20
            assert components["circuit_breaker"] == {
                "state": "closed",
                "failure_count": 0,
                "last_failure": None,
                "reason": "",
            }
            exposition = (await api.call("GET", "/metrics")).body
            assert b'registry_redis_latency_seconds_count{shard="main"}' in exposition
            server.kill()
            refused = await api.call("POST", "/register", {"service_name": "a_b_c", "host": "10.0.0.8", "port": 8034})
            assert (refused.status, refused.body["error"]) == (503, "StoreUnavailable")
            assert int(refused.headers["Retry-After"]) >= 1
            components = (await api.call("GET", "/health")).body["components"]
            assert components["circuit_breaker"]["state"] == "open"
            assert components["circuit_breaker"]["last_failure"].endswith("+00:00")
            assert components["circuit_breaker"]["reason"]
            assert (await api.call("GET", "/services")).body == ["ip_intel"]


async def test_a_memory_store_shows_no_redis() -> None:
    async with serving() as api:
        components = (await api.call("GET", "/health")).body["components"]
        assert "redis" not in components
        assert "circuit_breaker" not in components
