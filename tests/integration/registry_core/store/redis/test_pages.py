"""Reading a shard while it changes: exact, delivered as differences, and never visible before it is complete."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from registry_core.domain.events import Deregistered, Registered
from registry_core.domain.records import Instance, InstanceKey, Registration, Status
from registry_core.domain.sharding import shard_of
from registry_core.errors import NotFound, StoreUnavailable
from registry_core.ports.clock import SystemClock
from registry_core.ports.store import Snapshot
from registry_core.store.redis import pages, rows
from registry_core.store.redis import slices as parts_module
from registry_core.store.redis import store as store_module
from registry_core.store.redis.link import Link
from registry_core.store.redis.pages import Whole, read_whole
from registry_core.store.redis.pool import close_client, open_client
from registry_core.store.redis.scripts import SCRIPTS, RedisCommand, ScriptName, loading
from registry_core.store.redis.store import RedisStore
from registry_core.store.redis.url import ServerAccess, ServerAddress
from tests.contract.harness import RecordingFeed
from tests.integration.redis_stores import asked, running_store
from tests.programs import eventually
from tests.redis_topology import RedisServer, redis_server
from tests.samples import claim

SEEDS = range(4)
FLEET = 300  # above what Redis keeps as one listpack, and returns in one page
FIRST_PORT = 10_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@contextlib.asynccontextmanager
async def a_fleet(server: RedisServer) -> AsyncIterator[tuple[RedisStore, RecordingFeed, Redis]]:
    """Run a store with a fleet in it, and a separate client."""
    async with running_store(server) as (store, feed), asked(server) as client:
        await asyncio.gather(*(store.register(nth(number)) for number in range(FLEET)))
        yield store, feed, client


def nth(number: int, version: str = "") -> Registration:
    return claim(f"service-{number % 40}", port=FIRST_PORT + number, version=version)


def key_of(number: int) -> InstanceKey:
    return InstanceKey(f"service-{number % 40}", f"10.0.0.7:{FIRST_PORT + number}")


def instances(whole: Whole) -> dict[InstanceKey, Instance]:
    return {key: lived.instance for key, lived in whole.records.lived.items()}


async def change_something(store: RedisStore, chance: random.Random) -> None:
    """Do one of all possible operations on one instance of the fleet, whether it exists or not."""
    number = chance.randrange(FLEET + 60)
    with contextlib.suppress(NotFound):
        match chance.randrange(4):
            case 0:
                await store.register(nth(number, version=f"1.0.{chance.randrange(1000)}"))
            case 1:
                await store.set_status(key_of(number), chance.choice(list(Status)))
            case _:
                await store.deregister(key_of(number))


def interrupted(monkeypatch: pytest.MonkeyPatch, between: Callable[[], Awaitable[None]]) -> None:
    """Let `between` run after every page that is read."""
    one = pages.one

    async def paged(link: Link, command: RedisCommand) -> Any:
        page = await one(link, command)
        if command[1:2] == (SCRIPTS[ScriptName.PAGE].sha,):
            await between()
        return page

    monkeypatch.setattr(pages, "one", paged)
    monkeypatch.setattr(pages, "PAGE_RECORDS", 20)
    monkeypatch.setattr(pages, "READ_EVENTS", 7)


async def read(server: RedisServer) -> Whole:
    """Read the whole shard, on a separate connection."""
    client = open_client(ServerAddress("127.0.0.1", server.port), ServerAccess())
    link = await Link.opened(client, SystemClock())
    try:
        await link.ask(loading())
        return await read_whole(link, "test", 0)
    finally:
        await link.close()
        await close_client(client)


def long_ago(store: RedisStore) -> None:
    """Make all writes older than a replica remembers."""
    for shard in store._shards:
        for key in [key for key, _ in shard._journal.entries(time.monotonic())]:
            shard._journal.forget(key)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_reading_during_changes_is_exact_for_its_position(
    seed: int, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(seed)
    async with a_fleet(server) as (store, feed, client):

        async def between() -> None:
            for _ in range(chance.randrange(8)):
                await change_something(store, chance)

        with monkeypatch.context() as patched:
            interrupted(patched, between)
            whole = await read(server)
        assert whole.position.revision > FLEET, "things changed meanwhile"
        after: Any = await client.xrange("test:events", f"({whole.position.revision}-0")
        for id_, entry in after:
            told = rows.entry_of(0, whole.position.epoch, id_, entry)
            assert isinstance(told, rows.StreamEntry)
            assert told.event is not None
            whole.records.apply(told.event)
        still = await read(server)
        assert instances(whole) == instances(still)
        await eventually(lambda: {i.key: i for i in feed.catalog} == instances(still), "who followed has the same")
        assert {lived.instance.address for lived in still.records.lived.values()} == set(whole.records.at_address)


async def test_a_shard_emptied_during_a_reading_is_not_mixed_with_it(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_fleet(server) as (store, _feed, client):
        await store.close()

        async def between() -> None:
            await client.flushall()

        interrupted(monkeypatch, between)
        with pytest.raises(Exception, match="the shard was emptied"):
            await read(server)


async def test_another_epoch_of_the_shard_is_not_mixed_into_the_reading(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_fleet(server) as (store, _feed, client):
        await store.close()
        lives = iter(range(1000))

        async def between() -> None:
            await client.hset("test:meta", "epoch", f"life{next(lives)}")

        interrupted(monkeypatch, between)
        with pytest.raises(StoreUnavailable, match="another life"):
            await read(server)


async def test_events_trimmed_during_a_reading_are_not_lost(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_fleet(server) as (store, _feed, client):

        async def between() -> None:
            await store.set_status(key_of(1), random.choice(list(Status)))
            await store.deregister(key_of(1))
            await store.register(nth(1))
            await client.xtrim("test:events", maxlen=1, approximate=False)

        interrupted(monkeypatch, between)
        with pytest.raises(StoreUnavailable, match="trimmed"):
            await read(server)


async def take_out(client: Redis, *numbers: int) -> None:
    """Remove some of the fleet from a server that is about to lead, by writers unknown to this store."""
    fields = [rows.field_of(key_of(number)) for number in numbers]
    await client.hdel("test:records", *fields)
    await client.zrem("test:leases", *fields)
    await client.hset("test:tombs", mapping=dict.fromkeys(fields, "0 - 1 1\n"))


async def become_another_server(client: Redis) -> None:
    """As after a failover, long after the empty start: another run id, the same data, and connections are cut."""
    await client.hset("test:meta", mapping={"run": "another", "born": "0"})
    await client.client_kill_filter(_type="normal", skipme=True)


async def test_a_new_master_with_the_same_records_is_delivered_as_no_difference(server: RedisServer) -> None:
    async with a_fleet(server) as (store, feed, client):
        before = (await store.snapshot()).cursor
        await become_another_server(client)
        await eventually(lambda: bool(feed.moves), "it is told")
        (cursor, differences), *more = feed.moves
        assert differences == ()
        assert not more
        assert len(feed.resets) == 1
        assert cursor.positions[0].epoch != before.positions[0].epoch
        await store.register(nth(FLEET))
        assert len(feed.catalog) == FLEET + 1, "and events continue from there"


async def test_a_new_master_is_delivered_as_its_differences(server: RedisServer) -> None:
    async with a_fleet(server) as (store, feed, client):
        long_ago(store)
        other = rows.field_of(key_of(5))
        await take_out(client, 3)
        value: Any = await client.hget("test:records", other)
        await client.hset("test:records", other, value.replace(b" passing ", b" draining ", 1))
        await become_another_server(client)
        await eventually(lambda: bool(feed.moves), "it is told")
        differences = {event.key: event for event in feed.moves[0][1]}
        assert differences.keys() == {key_of(3), key_of(5)}
        assert isinstance(differences[key_of(3)], Deregistered)
        changed = differences[key_of(5)]
        assert isinstance(changed, Registered)
        assert changed.instance.status is Status.DRAINING
        assert feed.catalog.get(key_of(3)) is None
        assert len(feed.catalog) == FLEET - 1


async def test_records_that_a_new_master_lacks_are_restored_unless_deregistered(server: RedisServer) -> None:
    async with a_fleet(server) as (store, feed, client):
        long_ago(store)
        await client.hdel("test:records", *(rows.field_of(key_of(number)) for number in range(10)))
        await become_another_server(client)
        await eventually(lambda: bool(feed.moves), "it is told")
        assert len(feed.catalog) == FLEET, "they were never missing"
        assert await client.hlen("test:records") == FLEET


async def test_a_very_different_new_master_is_delivered_as_a_snapshot(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "MOST_DIFFERENCES", 10)
    monkeypatch.setattr(parts_module, "PART", 5)
    async with a_fleet(server) as (store, feed, client):
        long_ago(store)
        sizes: list[int] = []

        async def look() -> None:
            while len(feed.resets) < 2:
                sizes.append(len(feed.catalog))
                await asyncio.sleep(0)

        await take_out(client, *range(100))
        looking = asyncio.ensure_future(look())
        await become_another_server(client)
        await looking
        assert set(sizes) == {FLEET}, "until the new one is complete, the old one is visible"
        assert len(feed.catalog) == FLEET - 100
        assert not feed.moves


async def test_events_at_the_moment_of_a_stores_start_are_not_lost(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_fleet(server) as (store, _, _client):
        let_go = parts_module.shed

        async def slowly(old: Any) -> None:
            """Let something happen, and be delivered, while the old catalogue is being freed."""
            monkeypatch.setattr(store_module, "shed", let_go)
            await store.set_status(key_of(1), Status.DRAINING)
            await asyncio.sleep(0.2)
            await let_go(old)

        monkeypatch.setattr(store_module, "shed", slowly)
        async with running_store(server) as (_, feed):
            shown = feed.catalog.get(key_of(1))
            assert shown is not None
            assert shown.status is Status.DRAINING


class Busy(RecordingFeed):
    """A feed that checks that a catalogue built for it equals what it is told."""

    def reset(self, snapshot: Snapshot) -> None:
        assert snapshot.built is not None
        super().reset(snapshot)
        assert snapshot.built.digest == self.catalog.digest


async def test_events_of_one_shard_during_the_takeover_of_another_are_not_lost(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "MOST_DIFFERENCES", 0)
    monkeypatch.setattr(parts_module, "PART", 1)
    names = [f"service-{number}" for number in range(120)]
    here = [name for name in names if shard_of(name, ("a", "b")) == 0]
    there = [name for name in names if shard_of(name, ("a", "b")) == 1]
    with redis_server(tmp_path / "second") as second:
        feed = Busy()
        async with running_store(server, second, names=("a", "b"), feed=feed) as (store, _), asked(server) as client:
            await asyncio.gather(*(store.register(claim(name, port=9000 + n)) for n, name in enumerate(names)))
            long_ago(store)
            field = rows.field_of(InstanceKey(here[0], f"10.0.0.7:{9000 + names.index(here[0])}"))
            await client.hdel("test:records", field)
            await client.hset("test:tombs", field, "0 - 1 1\n")
            sleep = asyncio.sleep

            async def slower(seconds: float) -> None:
                await sleep(max(seconds, 0.003))

            # Turns are given, but not short ones: enough happens while the catalogue is built.
            monkeypatch.setattr(asyncio, "sleep", slower)
            going = asyncio.ensure_future(become_another_server(client))
            alive = set(there)
            while len(feed.resets) < 2:
                name = there[len(feed.events) % len(there)]
                key = InstanceKey(name, f"10.0.0.7:{9000 + names.index(name)}")
                if name in alive:
                    await store.deregister(key)
                    alive.discard(name)
                else:
                    await store.register(claim(name, port=9000 + names.index(name)))
                    alive.add(name)
            await going
            assert {i.service_name for i in feed.catalog} == alive | set(here[1:])
