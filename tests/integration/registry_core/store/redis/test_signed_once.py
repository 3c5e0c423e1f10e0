"""All replicas of one Redis together carry out a signed write once; the store's own retries are no replays."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from registry_core.errors import Unavailable
from registry_core.ports.once import SignedOnce, signed_once
from registry_core.security.signature_errors import Replayed
from registry_core.security.signing_keys import service_key
from registry_core.store.redis.url import redis_settings
from tests.integration.redis_stores import running_store
from tests.integration.replicas import READY, Api, serving
from tests.integration.signed_requests import GOOD, SignedRequest, signed_request
from tests.programs import eventually
from tests.redis_topology import RedisServer, redis_server
from tests.samples import claim

SECRET = "a-long-random-word"
KEY = service_key("ip_intel", SECRET)
INSTANCE = "/ip_intel/10.0.0.7:8034"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@contextlib.asynccontextmanager
async def replicas(server: RedisServer, count: int = 2) -> AsyncIterator[list[Api]]:
    settings = msgspec.structs.replace(READY, secrets=(SECRET,), redis=redis_settings(server.url))
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(serving(settings)) for _ in range(count)]


BEAT = {"service_name": "ip_intel", "instance_id": "10.0.0.7:8034"}
WRITES: list[tuple[str, Callable[[], SignedRequest], int]] = [
    ("register", lambda: signed_request(KEY), 201),
    ("heartbeat", lambda: signed_request(KEY, path="/heartbeat", body={"instances": [BEAT]}), 200),
    ("status", lambda: signed_request(KEY, "PUT", f"/status{INSTANCE}", {"status": "warning"}), 200),
    ("deregister", lambda: signed_request(KEY, "DELETE", f"/deregister{INSTANCE}"), 200),
]


async def test_what_one_replica_accepted_no_other_accepts(server: RedisServer) -> None:
    async with replicas(server) as (one, other):
        assert (await signed_request(KEY).send(one)).status == 201
        await eventually(lambda: len(other.replica.view.catalog) == 1, "the other follows")
        for name, made, status in WRITES:
            request = made()
            assert (await request.send(one)).status == status, name
            for api in (other, one, other):
                answer = await request.send(api)
                assert (answer.status, answer.body["error"]) == (401, "Replayed"), name
        marks = server.ask("KEYS", "vertice:signed:*")
        assert len(marks) == len(WRITES) + 1
        left_ms = [int(server.ask("PTTL", mark)) for mark in marks]
        assert all(300_000 < each <= 362_000 for each in left_ms), "each is forgotten when its signature is worthless"


async def test_of_copies_sent_to_all_replicas_at_once_one_is_carried_out(server: RedisServer) -> None:
    async with replicas(server, 3) as apis:
        request = signed_request(KEY)
        answers = await asyncio.gather(*(request.send(api) for api in apis for _ in range(4)))
        assert sorted(answer.status for answer in answers) == [201, *[401] * 11]


async def test_a_replica_that_restarts_has_forgotten_nothing(server: RedisServer) -> None:
    request = signed_request(KEY)
    async with replicas(server, 1) as (api,):
        assert (await request.send(api)).status == 201
    async with replicas(server, 1) as (api,):
        assert (await request.send(api)).body["error"] == "Replayed"


async def test_an_unsigned_write_after_a_signed_one_on_the_same_connection_is_none(server: RedisServer) -> None:
    async with replicas(server, 1) as (api,):
        assert (await signed_request(KEY).send(api)).status == 201
        for _ in range(3):
            answer = await api.call("POST", "/register", GOOD, headers={"X-Registry-Token": SECRET})
            assert answer.status == 201


async def test_the_stores_own_repetitions_are_the_same_request(server: RedisServer) -> None:
    """A write that was interrupted is sent again; a deregistration is one call for each shard that has a copy."""
    async with running_store(server) as (store, feed):
        signed_once.set(SignedOnce("mark", "this", 60_000))
        await store.register(claim())
        await store.register(claim())
        assert len(feed.catalog) == 1
        signed_once.set(SignedOnce("mark", "another", 60_000))
        with pytest.raises(Replayed):
            await store.register(claim(port=9000))
        with pytest.raises(Replayed):
            await store.deregister(claim().key)
        assert len(feed.catalog) == 1
        signed_once.set(None)


async def test_a_replay_is_no_failure_of_the_shard(server: RedisServer) -> None:
    async with running_store(server) as (store, _):
        signed_once.set(SignedOnce("mark", "this", 60_000))
        await store.register(claim())
        signed_once.set(SignedOnce("mark", "another", 60_000))
        for _ in range(10):
            with pytest.raises(Replayed):
                await store.register(claim())
        signed_once.set(None)
        assert store.shards()[0].breaker_failures == 0
        assert store.shards()[0].problem == ""
        await store.register(claim())


async def test_a_write_that_was_not_carried_out_has_not_used_its_signature_up(server: RedisServer) -> None:
    async with running_store(server) as (store, _):
        signed_once.set(SignedOnce("mark", "this", 60_000))
        server.ask("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(Unavailable):
            await store.register(claim())
        server.ask("CONFIG", "SET", "maxmemory", "0")
        signed_once.set(SignedOnce("mark", "another", 60_000))
        await store.register(claim())
        signed_once.set(None)
