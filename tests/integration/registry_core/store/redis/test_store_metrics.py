"""The metrics of a shard while its servers fail: copies, failovers, and writes that nobody confirmed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from registry_core.replica_settings import replica_settings
from registry_core.store.redis.store import RedisStore
from tests.integration.replicas import Api, serving
from tests.programs import eventually
from tests.redis_topology import topology

SHARD = "a"


def value(api: Api, name: str, **labels: str) -> float:
    found = api.replica.metrics.registry.get_sample_value(name, {"shard": SHARD, **labels})
    assert found is not None, name
    return found


async def test_copies_failovers_and_unconfirmed_writes_are_counted(tmp_path: Path) -> None:
    with topology(tmp_path / "whole") as whole:
        settings = replica_settings(
            {
                "REGISTRY_LISTEN": "127.0.0.1:0",
                "REGISTRY_STORE": whole.url,
                "REGISTRY_WARMING": "0",
            }
        )
        async with serving(msgspec.structs.replace(settings, redis_timeout_s=4.0)) as api:
            assert isinstance(api.replica.store, RedisStore)
            await api.register()
            await eventually(lambda: value(api, "registry_store_copies") == 2, "both replicas hold it")
            assert value(api, "registry_store_confirm_seconds_count") >= 1
            assert value(api, "registry_redis_latency_seconds_count") >= 1
            assert value(api, "registry_store_failovers_total") == 0
            assert value(api, "registry_store_connections", state="idle") >= 1
            assert value(api, "registry_feed_age_seconds") < 10

            (master,) = whole.shards[0].masters()
            master.kill()
            await eventually(lambda: value(api, "registry_store_failovers_total") == 1, "another one took over", 20)
            await eventually(lambda: value(api, "registry_store_copies") == 1, "one replica is left", 20)

            (other,) = whole.shards[0].masters()
            last = next(node for node in whole.shards[0].nodes if node not in (master, other))
            last.pause()  # its connection stays open
            refused = await api.call("POST", "/register", {"service_name": "b_c", "host": "10.0.0.8", "port": 8034})
            assert refused.status == 503
            assert value(api, "registry_store_not_replicated_total") >= 1
            await eventually(lambda: value(api, "registry_store_copies") == 0, "nobody holds what was written", 20)
            last.resume()
            await eventually(lambda: value(api, "registry_store_copies") == 1, "it has caught up", 20)
