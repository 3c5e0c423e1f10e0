"""The Redis store beyond the contract: two replicas, lost histories, and what it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_core.domain.breaker import BreakerState, BreakerTerms
from registry_core.domain.events import Position
from registry_core.domain.records import InstanceKey, Status
from registry_core.domain.sharding import shard_of
from registry_core.errors import Conflict, NotReplicated, SettingsError, StoreUnavailable
from registry_core.ports.store import Beat
from registry_core.store.redis import follower as follower_module
from registry_core.store.redis.writes import QueueTerms
from tests.integration.redis_stores import asked, running_store
from tests.programs import eventually
from tests.redis_topology import RedisServer, redis_server
from tests.samples import claim


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


async def test_writes_of_one_replica_show_at_the_other(server: RedisServer) -> None:
    async with running_store(server) as (one, feed_of_one), running_store(server) as (other, feed):
        await one.register(claim("ip_intel", version="1.4.2"))
        await eventually(lambda: feed.catalog.find("ip_intel") is not None, "the other shows it")
        await other.set_status(InstanceKey("ip-intel", "10.0.0.7:8034"), Status.DRAINING)
        cursor = (await other.snapshot()).cursor
        await eventually(lambda: feed_of_one.events[-1].position == cursor.positions[0], "they stand at the same place")
        assert (await one.snapshot()).cursor == cursor
        await one.deregister(InstanceKey("ip-intel", "10.0.0.7:8034"))
        await eventually(lambda: len(feed.catalog) == 0, "it is gone at the other")


async def test_heartbeats_accepted_by_one_replica_are_known_to_the_other(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "RENEWALS_EVERY_S", 0.1)
    async with running_store(server) as (one, _), running_store(server) as (_other, feed):
        key = (await one.register(claim())).instance.key
        await eventually(lambda: feed.catalog.heartbeat_at(key) > 0, "the other knows it")
        before = feed.catalog.heartbeat_at(key)
        await asyncio.sleep(0.01)  # the server's clock must advance by a millisecond
        await one.renew([Beat("ip_intel")])
        await eventually(lambda: feed.catalog.heartbeat_at(key) > before, "the heartbeat is told")


async def test_an_emptied_redis_is_refilled_with_recently_acknowledged_writes(server: RedisServer) -> None:
    async with running_store(server, terms=QueueTerms()) as (store, feed), asked(server) as client:
        await store.register(claim())
        before = store.shards()[0].epoch
        await client.flushall()
        await store.register(claim("billing", port=9000))
        await eventually(lambda: store.shards()[0].epoch not in ("", before), "it is another life")
        await eventually(lambda: feed.catalog.names() == ["billing", "ip_intel"], "both are there")
        assert len(feed.resets) == 1, "no known record is missing, so nothing is unknown"
    async with running_store(server) as (_, later):
        assert later.catalog.names() == ["billing", "ip_intel"]
        assert later.resets[0].born_empty, "a replica that starts now cannot know that"


async def test_an_emptied_redis_that_lacks_older_writes_makes_the_replica_warm(server: RedisServer) -> None:
    async with running_store(server, terms=QueueTerms()) as (store, feed), asked(server) as client:
        await store.register(claim())
        store._shards[0]._journal.forget(claim().key)
        await client.flushall()
        await store.register(claim("billing", port=9000))
        await eventually(lambda: len(feed.resets) == 2, "the loss is told")
        assert feed.resets[-1].born_empty, "a missing instance may be alive"
        await store.register(claim())
        assert len(feed.catalog) == 2
        assert len({position.epoch for reset in feed.resets for position in reset.cursor.positions}) == 2


async def test_another_server_starts_a_new_epoch(server: RedisServer) -> None:
    epochs: list[str] = []
    async with asked(server) as client:
        for _ in range(3):
            async with running_store(server) as (store, feed):
                await store.register(claim())
                epochs.append(feed.resets[-1].cursor.positions[0].epoch)
                assert len(feed.catalog) == 1
            # The same data under another run id: restarted from a file, or promoted.
            await client.hset("test:meta", "run", "another")
    assert len(set(epochs)) == 3


async def test_keys_of_another_program_are_left_alone(server: RedisServer) -> None:
    async with asked(server) as client:
        await client.set("test:records", "somebody else's")
        with pytest.raises(SettingsError, match=r"REGISTRY_STORE: main: test:records is a key of another program"):
            async with running_store(server):
                pass
        assert await client.get("test:records") == b"somebody else's"
        assert await client.keys("test:*") == [b"test:records"]


async def test_trimmed_events_are_made_up_for_by_reading_everything(server: RedisServer) -> None:
    async with running_store(server) as (one, _), running_store(server) as (_other, feed), asked(server) as client:
        await one.register(claim(port=8001))
        await eventually(lambda: len(feed.catalog) == 1, "the first is told")
        pipeline = client.pipeline(transaction=True)
        # As if it had been down while more happened than the stream keeps.
        pipeline.hincrby("test:meta", "revision", 5)
        pipeline.xtrim("test:events", maxlen=0)
        await pipeline.execute()
        await one.register(claim(port=8002))
        await eventually(lambda: len(feed.catalog) == 2, "nothing is missing")
        assert feed.moves, "it was delivered as differences"
        assert len(feed.resets) == 1


async def test_a_write_without_a_replicas_confirmation_is_not_acknowledged(server: RedisServer) -> None:
    async with running_store(server, replicas=1) as (store, _):
        with pytest.raises(NotReplicated):
            await store.register(claim())


async def test_a_write_over_a_cut_connection_is_not_acknowledged_by_a_replica_without_it(
    server: RedisServer, tmp_path: Path
) -> None:
    with redis_server(tmp_path / "replica", f"replicaof 127.0.0.1 {server.port}") as replica:
        await eventually(lambda: "state=online" in str(server.ask("INFO", "replication")), "the replica follows")
        terms = QueueTerms(wait_s=0.1, replicas_s=2.0)
        async with running_store(server, replicas=1, terms=terms) as (store, _), asked(server) as client:
            key = (await store.register(claim())).instance.key
            replica.pause()
            held = asyncio.ensure_future(store.deregister(key))
            await asyncio.sleep(0.5)
            # On the next connection it finds its work done, and writes nothing, so that WAIT there means nothing.
            await client.client_kill_filter(_type="normal", skipme=True)
            with pytest.raises(NotReplicated):
                await held
            replica.resume()


async def test_a_master_with_silent_replicas_refuses_soon_and_serves_as_soon_as_one_is_back(
    server: RedisServer, tmp_path: Path
) -> None:
    terms = QueueTerms(operation_s=60.0, wait_s=0.1, replicas_s=0.3)
    async with running_store(server, replicas=1, terms=terms) as (store, _), asyncio.timeout(30):
        for _ in range(BreakerTerms().failures + 1):
            with pytest.raises(NotReplicated):
                await store.register(claim())
        assert store.shards()[0].breaker is BreakerState.CLOSED, "the server answers"
        with redis_server(tmp_path / "replica", f"replicaof 127.0.0.1 {server.port}") as replica:
            await eventually(lambda: "state=online" in str(server.ask("INFO", "replication")), "the replica follows")
            # It hears of writes up to a second later, once it has told its master that loading is complete.
            server.ask("SET", "written-since", "1")
            await eventually(lambda: replica.ask("GET", "written-since") == "1", "the replica is told of writes")
            await store.register(claim())


async def test_a_write_in_an_unread_epoch_is_acknowledged_only_after_it_is_read(server: RedisServer) -> None:
    async with running_store(server) as (store, _):
        follower = store._shards[0].follower
        before = follower.position
        early = asyncio.ensure_future(follower.arrivals.reached("the-next-one", 1))
        late = asyncio.ensure_future(follower.arrivals.reached(before.epoch, before.revision + 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not early.done()
        assert not late.done()
        follower._tell(Position(0, "the-next-one", 1))
        await early
        await late  # writes of the old epoch are in the first reading of the next one, or lost


async def test_a_repeated_write_returns_its_first_answer(server: RedisServer, tmp_path: Path) -> None:
    with redis_server(tmp_path / "replica", f"replicaof 127.0.0.1 {server.port}") as replica:
        await eventually(lambda: "state=online" in str(server.ask("INFO", "replication")), "the replica follows")
        async with running_store(server, replicas=1, terms=QueueTerms(wait_s=0.1)) as (store, _):
            key = (await store.register(claim())).instance.key
            replica.pause()
            going = asyncio.ensure_future(store.deregister(key))
            coming = asyncio.ensure_future(store.register(claim("billing", port=9000)))
            await asyncio.sleep(0.4)  # several times the wait for a replica's confirmation
            assert not going.done()
            replica.resume()
            assert (await going).key == key
            assert (await coming).created


async def test_a_failing_shard_is_left_alone_and_delays_no_other_services(server: RedisServer, tmp_path: Path) -> None:
    with redis_server(tmp_path / "other") as dead:
        async with running_store(server, dead, names=("a", "b")) as (store, feed):
            taken, refused = 0, 0
            for number in range(40):
                name = f"service-{number}"
                await store.register(claim(name, port=8000 + number))
            dead.kill()
            for number in range(40):
                key = InstanceKey(f"service-{number}", f"10.0.0.7:{8000 + number}")
                try:
                    await store.set_status(key, Status.WARNING)
                    taken += 1
                except StoreUnavailable:
                    refused += 1
            assert taken > 5
            assert refused > 5
            reports = {report.shard: report for report in store.shards()}
            assert reports["a"].breaker is BreakerState.CLOSED
            assert reports["b"].breaker is BreakerState.OPEN
            assert reports["b"].problem
            assert len(feed.catalog) == 40, "lookups continue, also for the unreachable shard"


async def test_an_unreachable_shard_does_not_affect_heartbeats_of_others(server: RedisServer, tmp_path: Path) -> None:
    names = [f"service-{number}" for number in range(12)]
    with redis_server(tmp_path / "other") as dead:
        async with running_store(server, dead, names=("a", "b")) as (store, _):
            for at, name in enumerate(names):
                await store.register(claim(name, port=8000 + at))
            dead.kill()
            results = await store.renew([Beat(name) for name in names])
            outcomes = {name: result.outcome for name, result in zip(names, results, strict=True)}
            assert outcomes == {n: "renewed" if shard_of(n, ("a", "b")) == 0 else "unavailable" for n in names}
            assert set(outcomes.values()) == {"renewed", "unavailable"}
            away = next(name for name in names if outcomes[name] == "unavailable")
            with pytest.raises(StoreUnavailable):
                await store.renew([Beat(away)])


async def test_an_added_shard_takes_over_its_services_without_a_gap(server: RedisServer, tmp_path: Path) -> None:
    names = [f"service-{number}" for number in range(12)]
    async with running_store(server, names=("a",)) as (store, _):
        for at, name in enumerate(names):
            await store.register(claim(name, port=8000 + at))
    with redis_server(tmp_path / "second") as second:
        async with running_store(server, second, names=("a", "b")) as (store, feed):
            assert feed.catalog.names() == sorted(names), "served from their old shard"
            results = await store.renew([Beat(name) for name in names])
            moved = [name for name, result in zip(names, results, strict=True) if result.outcome == "unknown"]
            assert 0 < len(moved) < len(names)
            for name in moved:  # as agents do when told to
                await store.register(claim(name, port=8000 + names.index(name)))
                assert feed.catalog.names() == sorted(names)
            async with asked(server) as old:

                async def left() -> int:
                    return int(await old.hlen("test:records"))

                for _ in range(200):
                    if await left() == len(names) - len(moved):
                        break
                    await store.sweep()
                    await asyncio.sleep(0.02)
                assert await left() == len(names) - len(moved), "the old copies are gone"
            assert feed.catalog.names() == sorted(names)
            await store.deregister(InstanceKey(moved[0], f"10.0.0.7:{8000 + names.index(moved[0])}"))
            assert moved[0] not in feed.catalog.names()


async def test_an_address_belongs_to_one_instance_across_shards(server: RedisServer, tmp_path: Path) -> None:
    by_shard = {shard_of(f"name-{n}", ["a", "b"]): f"name-{n}" for n in range(20)}
    with redis_server(tmp_path / "second") as second:
        async with running_store(server, second, names=("a", "b")) as (store, feed):
            first = (await store.register(claim(by_shard[0]))).instance
            with pytest.raises(Conflict):
                await store.register(claim(by_shard[1]))
            await store.set_status(first.key, Status.CRITICAL)
            await store.register(claim(by_shard[1]))
            assert feed.catalog.names() == [by_shard[1]]


async def test_the_store_always_closes(server: RedisServer) -> None:
    for _ in range(30):
        async with running_store(server) as (store, _):
            await store.register(claim())
