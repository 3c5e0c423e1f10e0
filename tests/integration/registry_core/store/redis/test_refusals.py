"""A Redis that answers but refuses writes: writes fail at once, and are accepted as soon as possible."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import exceptions

from registry_core.domain.breaker import BreakerState
from registry_core.errors import NotReplicated, StoreUnavailable, Unavailable
from registry_core.store.redis.failures import is_answer
from registry_core.store.redis.store import RedisStore
from tests.integration.redis_stores import running_store
from tests.programs import eventually
from tests.redis_topology import RedisServer, redis_server
from tests.samples import claim


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


async def refused(store: RedisStore, times: int = 5) -> str:
    """Try some registrations at once; return their errors."""
    tries = [store.register(claim(port=8000 + number)) for number in range(times)]
    errors = await asyncio.gather(*tries, return_exceptions=True)
    assert all(isinstance(error, Unavailable) for error in errors), errors
    (said,) = {str(error) for error in errors}
    return said


async def test_running_out_of_memory_is_no_connection_failure(server: RedisServer) -> None:
    async with running_store(server) as (store, feed):
        await store.register(claim("billing", port=9000))
        server.ask("CONFIG", "SET", "maxmemory", "1")
        said = await refused(store)
        assert said == "shard 'main' takes no writes: its Redis has no memory left (maxmemory)"
        (report,) = store.shards()
        assert report.breaker is BreakerState.CLOSED
        assert (report.last_failure, report.problem) == (said, said)
        assert feed.catalog.names() == ["billing"], "lookups continue"
        server.ask("CONFIG", "SET", "maxmemory", "0")
        await store.register(claim())
        assert store.shards()[0].problem == ""


async def test_a_full_disk_is_no_connection_failure(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with redis_server(tmp_path / "redis", f"dir {disk}", "save 3600 1000000") as server:
        async with running_store(server) as (store, _):
            disk.rmdir()
            server.ask("BGSAVE")
            failed = "rdb_last_bgsave_status:err"
            await eventually(lambda: failed in str(server.ask("INFO", "persistence")), "it cannot write")
            said = await refused(store)
            assert said == "shard 'main' takes no writes: its Redis cannot write to its disk (MISCONF)"
            assert store.shards()[0].breaker is BreakerState.CLOSED
            server.ask("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
            await store.register(claim())
        server.kill()  # it would not end by itself before it has saved


async def test_a_missing_replica_is_no_connection_failure(server: RedisServer) -> None:
    async with running_store(server) as (store, _):
        server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
        assert await refused(store) == "shard 'main' has no replica that takes writes"
        assert store.shards()[0].breaker is BreakerState.CLOSED
        server.ask("CONFIG", "SET", "min-replicas-to-write", "0")
        await store.register(claim())


async def test_a_write_that_got_no_time_has_the_reason_of_those_before_it(server: RedisServer) -> None:
    async with running_store(server) as (store, _):
        server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
        first = asyncio.ensure_future(refused(store, 1))
        await asyncio.sleep(0.005)  # these wait behind it, and their time ends when its time does
        behind = [asyncio.ensure_future(refused(store, 1)) for _ in range(5)]
        assert {await each for each in (first, *behind)} == {"shard 'main' has no replica that takes writes"}
        assert store.shards()[0].breaker is BreakerState.CLOSED


async def test_a_missing_master_is_a_connection_failure(server: RedisServer) -> None:
    async with running_store(server) as (store, _):
        server.ask("REPLICAOF", "127.0.0.1", "1")
        await refused(store)
        assert store.shards()[0].breaker is BreakerState.OPEN


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), True),
        (exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"), True),
        (exceptions.ResponseError("NOREPLICAS Not enough good replicas to write."), True),
        (exceptions.NoPermissionError("this user has no permissions to run the 'evalsha' command"), True),
        (exceptions.ResponseError("NOTOPEN the shard was emptied"), True),
        (NotReplicated("0 of 1"), True),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), False),
        (exceptions.ResponseError("READONLY You can't write against a read only replica. script: x"), False),
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), False),
        (exceptions.ResponseError("BUSY Redis is busy running a script."), False),
        (exceptions.ConnectionError("gone"), False),
        (exceptions.TimeoutError("late"), False),
        (StoreUnavailable("no Redis master is known"), False),
        (TimeoutError(), False),
    ],
)
def test_only_the_answer_of_a_serving_master_counts(error: Exception, *, answer: bool) -> None:
    assert is_answer(error) is answer
