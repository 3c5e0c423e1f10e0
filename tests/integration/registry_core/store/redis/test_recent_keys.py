"""A replica that has just begun knows what changed last, and sends agents that return only that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from registry_core.replica_settings import ReplicaSettings
from registry_core.settings import Listen
from registry_core.store.redis import recent_keys as module
from registry_core.store.redis.url import redis_settings
from tests.integration.agent.view.test_sync import following
from tests.integration.redis_stores import asked, running_store
from tests.integration.replicas import READY, serving
from tests.programs import eventually, free_port
from tests.redis_topology import RedisServer, redis_server
from tests.samples import claim


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


def settings(server: RedisServer, port: int) -> ReplicaSettings:
    return msgspec.structs.replace(READY, listen=Listen("127.0.0.1", port), redis=redis_settings(server.url))


async def test_an_agent_that_returns_after_a_restart_of_all_replicas_is_sent_what_changed(server: RedisServer) -> None:
    port = free_port()
    async with serving(settings(server, port)) as api:
        for number in range(20):
            await api.register(f"service{number}", f"10.0.0.{number + 1}")
        async with following(api.url) as agent:
            await eventually(lambda: len(agent.view.catalog) == 20, "it has everything")
            await api.replica.close()
            async with serving(settings(server, free_port())) as other:  # nobody's agent follows this one
                await other.register("service3", "10.0.9.3")
                await other.register("new", "10.0.9.1")
                await other.call("DELETE", "/deregister/service4")
            async with serving(settings(server, port)) as again:
                await eventually(lambda: agent.view.find("new") is not None, "it is told")
                await eventually(lambda: agent.view.trust.live and agent.view.trust.whole, "and adds up")
                assert agent.view.find("service4") is None
                moved = agent.view.find("service3")
                assert moved is not None
                assert [one.host for one in moved.instances] == ["10.0.0.4", "10.0.9.3"]
                assert agent.view.snapshots == 1, "it did not read everything again"
                assert agent.asserted == 0, "and its own services are known"
                assert again.replica.hub.counts.snapshots.total() == 0


async def test_the_latest_events_are_read_back_and_then_followed(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_RECENT", 6)
    monkeypatch.setattr(module, "READ_EVENTS", 4)
    async with running_store(server) as (store, _):
        for number in range(10):
            await store.register(claim(port=8000 + number))
        (position,) = (await store.snapshot()).cursor.positions
        (recent,) = (await store.snapshot()).recent
        assert (recent.last, recent.since, len(recent.changed)) == (position, position.revision - 6, 6)
    async with running_store(server) as (store, _):
        (read,) = (await store.snapshot()).recent
        assert read == recent
        await store.register(claim(port=9000))
        (read,) = (await store.snapshot()).recent
        assert (read.since, read.changed[:5]) == (recent.since + 1, recent.changed[1:])


async def test_an_entry_that_tells_no_instance_ends_what_is_known(server: RedisServer) -> None:
    async with running_store(server) as (store, _):
        for number in range(5):
            await store.register(claim(port=8000 + number))
        (position,) = (await store.snapshot()).cursor.positions
    async with asked(server) as client:
        middle = f"{position.revision - 1}-0"
        assert await client.xdel("test:events", middle) == 1
    async with running_store(server) as (store, _):
        (recent,) = (await store.snapshot()).recent
        assert (recent.since, len(recent.changed)) == (position.revision - 1, 1)
