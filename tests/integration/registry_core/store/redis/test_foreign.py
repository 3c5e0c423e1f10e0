"""Foreign data in a shard, from another program, a later release or a fault: it is reported, and stops nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from registry_core.domain.records import InstanceKey, Status
from registry_core.ports.store import Beat
from registry_core.store.redis import follower as follower_module
from registry_core.store.redis import shard as shard_module
from registry_core.store.redis.store import RedisStore
from tests.contract.harness import RecordingFeed
from tests.integration.redis_stores import asked, running_store
from tests.programs import eventually
from tests.redis_topology import RedisServer, redis_server
from tests.samples import claim

FIELD = "ip-intel/10.0.0.7:8034"
KEY = InstanceKey("ip-intel", "10.0.0.7:8034")


class Running(NamedTuple):
    """A store with one instance, and a foreign client."""

    store: RedisStore
    feed: RecordingFeed
    client: Redis
    server: RedisServer

    async def goes_on(self) -> None:
        """Write, and see it; sweep; and check that a replica that starts now shows the same."""
        await self.store.register(claim("afterwards", port=9999))
        assert self.feed.catalog.find("afterwards") is not None
        assert (await self.store.sweep()).unswept == ()
        shown = {instance.key for instance in self.feed.catalog}
        async with running_store(self.server) as (_, feed):
            assert {instance.key for instance in feed.catalog} == shown
        revisions = [position.revision for position in self.feed.positions]
        assert revisions == sorted(revisions)

    @property
    def status(self) -> Status | None:
        instance = self.feed.catalog.get(KEY)
        return None if instance is None else instance.status

    @property
    def set_aside(self) -> int:
        return self.store.shards()[0].set_aside


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


@pytest_asyncio.fixture
async def running(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr(follower_module, "RENEWALS_EVERY_S", 0.2)
    async with running_store(server) as (store, feed), asked(server) as client:
        await store.register(claim())
        yield Running(store, feed, client, server)


async def tell(client: Redis, **fields: str) -> None:
    """Add an event as a later release would."""
    revision = await client.hincrby("test:meta", "revision", 1)
    words = (word for pair in fields.items() for word in pair)
    await client.execute_command("XADD", "test:events", f"{revision}-0", *words)  # type: ignore[no-untyped-call] # redis


async def value_of(client: Redis, field: str = FIELD) -> str:
    value = await client.hget("test:records", field)
    assert isinstance(value, bytes)
    return value.decode()


# -- events


async def test_an_event_of_an_unknown_kind_is_looked_up_in_the_record(running: Running) -> None:
    value = (await value_of(running.client)).replace(" passing ", " draining ")
    await running.client.hset("test:records", FIELD, value)
    await tell(running.client, t="moved_house", k=FIELD)
    await eventually(lambda: running.status is Status.DRAINING, "it is seen")
    await running.goes_on()
    assert running.set_aside == 0


async def test_an_event_of_an_unknown_kind_about_a_gone_record_removes_it(running: Running) -> None:
    await running.client.hdel("test:records", FIELD)
    await running.client.zrem("test:leases", FIELD)
    await tell(running.client, t="moved_away", k=FIELD)
    await eventually(lambda: not running.feed.catalog, "it is gone")
    await running.goes_on()


@pytest.mark.parametrize(
    "fields",
    [
        {"t": "registered", "k": FIELD, "v": "garbage", "h": "1"},
        {"t": "registered", "k": FIELD, "v": "1 2 passing 0 a:1\n{not json", "h": "1"},
        {"t": "registered", "k": FIELD},
        {"t": "status_changed", "k": "no slash", "s": "passing"},
        {"t": "deregistered"},
        {"nothing": "of ours"},
    ],
)
async def test_an_unreadable_event_is_set_aside(running: Running, fields: dict[str, str]) -> None:
    await tell(running.client, **fields)
    await eventually(lambda: running.set_aside == 1, "it is set aside")
    assert running.feed.catalog.get(KEY) is not None, "its known record stays"
    await running.goes_on()


async def test_a_record_that_becomes_readable_is_no_longer_set_aside(running: Running) -> None:
    await tell(running.client, t="registered", k=FIELD, v="garbage", h="1")
    await eventually(lambda: running.set_aside == 1, "it is set aside")
    await running.store.set_status(KEY, Status.WARNING)
    assert running.set_aside == 0


@pytest.mark.parametrize("id_", ["*", "1-7", "999999999999-0"])
async def test_a_foreign_entry_in_the_stream_stops_no_write_and_no_reader(running: Running, id_: str) -> None:
    await running.client.xadd("test:events", {"foo": "bar"}, id=id_)
    for number in range(3):
        await running.store.register(claim("billing", port=9000 + number))
    await eventually(lambda: len(running.feed.catalog) == 4, "all are told")
    await running.goes_on()


async def test_a_stream_replaced_by_another_key_is_recreated(running: Running) -> None:
    await running.client.set("test:events", "a string")
    await running.store.register(claim("billing", port=9000))
    await eventually(lambda: len(running.feed.catalog) == 2, "it is told")
    await running.goes_on()


# -- records


@pytest.mark.parametrize(
    ("found", "put", "shown"),
    [
        (" passing ", " hibernating ", ("hibernating", "http")),
        (" passing ", " on-hold ", ("on-hold", "http")),
        (" passing ", " ?! ", ("critical", "http")),
        ('"protocol":"http"', '"protocol":"quic"', ("passing", "quic")),
    ],
)
async def test_an_unknown_status_and_protocol_are_kept_unchanged(
    running: Running, found: str, put: str, shown: tuple[str, str]
) -> None:
    value = await value_of(running.client)
    assert found in value
    await running.client.hset("test:records", FIELD, value.replace(found, put))
    await tell(running.client, t="registered", k=FIELD, v=value.replace(found, put), h="1764000000000")

    def is_shown() -> bool:
        instance = running.feed.catalog.get(KEY)
        return instance is not None and (instance.status, instance.protocol) == shown

    await eventually(is_shown, "it is shown")
    await running.goes_on()


@pytest.mark.parametrize("value", ["garbage", "1 2 passing 0 a:1\nno json", "1 2 passing 0 a:1\n[]", "\n\n\n", ""])
async def test_an_unreadable_record_is_set_aside_and_its_service_is_not_reported_as_missing(
    running: Running, value: str
) -> None:
    await running.client.hset("test:records", "billing/10.0.0.9:1", value)
    async with running_store(running.server) as (store, feed):
        assert feed.catalog.names() == ["ip_intel"]
        assert store.shards()[0].set_aside == 1
        assert "an entry of shard 'main' cannot be read: billing/10.0.0.9:1" in store.unknown("billing")
        assert store.unknown("nobody") == ""
        await store.register(claim("billing", host="10.0.0.9", port=9001, instance_id="10.0.0.9:1"))
        assert store.unknown("billing") == "", "its owner has written it again"


@pytest.mark.parametrize("field", ["no-slash", "a/b/c", "/x", "x/", "two\nlines/1", "\x00/\x01", "ünï/1"])
async def test_a_record_under_an_invalid_field_stops_no_reading_and_no_sweep(running: Running, field: str) -> None:
    await running.client.hset("test:records", field, await value_of(running.client))
    await running.client.zadd("test:leases", {field: 1})
    await running.goes_on()
    await running.goes_on()
    assert await running.client.zscore("test:leases", field) is None, "its lease belongs to no record, and is gone"


async def test_a_lease_without_a_record_expires_and_delays_no_sweep(running: Running) -> None:
    await running.client.zadd("test:leases", {"ghost/1": 1, "": 1, "x": 2})
    await running.client.zadd("test:suspects", {"ghost/2": 1})
    report = await running.store.sweep()
    assert report.expired == ()
    await eventually_zero(running.client, "test:suspects")
    assert await running.client.zrange("test:leases", 0, -1) == [FIELD.encode()]
    await running.goes_on()


async def eventually_zero(client: Redis, key: str) -> None:
    for _ in range(100):
        if await client.zcard(key) == 0:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{key} is not empty")


async def test_a_record_without_a_lease_gets_one_and_does_not_stay_for_ever(running: Running) -> None:
    await running.client.zrem("test:leases", FIELD)
    for _ in range(100):
        if await running.client.zscore("test:leases", FIELD) is not None:
            break
        await asyncio.sleep(0.05)
    assert await running.client.zscore("test:leases", FIELD) is not None
    await running.goes_on()


# -- whole keys


async def test_records_that_were_lost_are_put_back_from_what_was_delivered(running: Running) -> None:
    await running.store.register(claim("billing", port=9000))
    await running.client.delete("test:records")
    for _ in range(100):
        if await running.client.hlen("test:records") == 2:
            break
        await asyncio.sleep(0.05)
    assert await running.client.hlen("test:records") == 2
    assert running.feed.catalog.names() == ["billing", "ip_intel"], "they were never missing"
    results = await running.store.renew([Beat("billing"), Beat("ip_intel")])
    assert [result.outcome for result in results] == ["renewed", "renewed"]
    await running.goes_on()


async def test_a_lost_meta_key_is_recreated_and_nothing_else(running: Running) -> None:
    before = running.store.shards()[0].epoch
    await running.client.delete("test:meta")
    await running.store.register(claim("billing", port=9000))
    await eventually(lambda: running.feed.catalog.names() == ["billing", "ip_intel"], "both are there")
    await eventually(lambda: running.store.shards()[0].epoch != before, "it is another life")
    await running.goes_on()


async def test_names_of_gone_services_are_free_again(running: Running) -> None:
    await running.client.hset("test:names", "left-over", "left_over")
    await running.store.register(claim("left-over", port=9000))
    assert running.feed.catalog.find("left_over") is not None


# -- a shard that is not followed


async def test_a_view_that_does_not_follow_its_shard_reports_it_within_seconds(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_module, "FOLLOWED_S", 1.5)
    async with running_store(server) as (store, feed):
        await store.register(claim())
        assert store.unknown("nobody") == ""
        server.pause()
        await eventually(lambda: bool(store.unknown("nobody")), "it is said")
        assert "shard 'main' is not followed for" in store.unknown("nobody")
        assert feed.catalog.names() == ["ip_intel"], "known instances are still returned"
        server.resume()
        await eventually(lambda: store.unknown("nobody") == "", "it is followed again")


async def test_a_clock_set_back_does_not_affect_leases_at_other_replicas(running: Running) -> None:
    """All times of the server are in its future, as after its clock was set back by an hour."""
    ahead = 3_600_000
    async with running_store(running.server) as (_, feed):
        score = await running.client.zscore("test:leases", FIELD)
        assert score is not None
        await running.client.zadd("test:leases", {FIELD: score + ahead})
        await eventually(lambda: feed.catalog.heartbeat_at(KEY) > score / 1000 + 3599, "it was heard of in the future")
        await running.client.zadd("test:leases", {FIELD: score})
        await running.store.renew([Beat("ip_intel")])
        await eventually(lambda: feed.catalog.heartbeat_at(KEY) < score / 1000 + 60, "the renewal is told")
