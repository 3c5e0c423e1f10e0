"""An address that an instance of another shard holds: that shard decides, not an old view of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pytest
import pytest_asyncio

from registry_core.domain.admission import Newcomer
from registry_core.domain.records import Instance, Protocol, Status
from registry_core.domain.sharding import shard_of
from registry_core.errors import Conflict, Fenced, StoreUnavailable
from registry_core.store.redis.store import RedisStore
from tests.contract.harness import RecordingFeed
from tests.integration.redis_stores import running_store
from tests.programs import eventually
from tests.redis_topology import RedisServer, redis_server
from tests.samples import claim

SHARDS: Final = ("a", "b")
NAMES: Final = {shard_of(f"name-{n}", SHARDS): f"name-{n}" for n in range(20)}
HOLDER, NEWCOMER = NAMES[0], NAMES[1]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    with redis_server(tmp_path / "a") as a, redis_server(tmp_path / "b") as b:
        yield a, b


class Pair(NamedTuple):
    """Two replicas' stores over the same shards."""

    one: RedisStore
    other: RedisStore
    feed: RecordingFeed

    def has_an_old_view(self, monkeypatch: pytest.MonkeyPatch, was: Instance) -> None:
        """Have the other store believe that an instance still is what it was."""
        monkeypatch.setattr(self.other._merge, "at_sockets", lambda _sockets: [was])


@pytest_asyncio.fixture
async def pair(servers: tuple[RedisServer, RedisServer]) -> AsyncIterator[Pair]:
    async with (
        running_store(*servers, names=SHARDS) as (one, feed),
        running_store(*servers, names=SHARDS) as (other, _),
    ):
        yield Pair(one, other, feed)


async def test_a_recovered_holder_is_not_removed_because_of_an_old_view(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = (await pair.one.register(claim(HOLDER))).instance
    pair.has_an_old_view(monkeypatch, msgspec.structs.replace(holder, status=Status.CRITICAL))
    with pytest.raises(Conflict, match="is registered as instance"):
        await pair.other.register(claim(NEWCOMER))
    assert pair.feed.catalog.names() == [HOLDER]


async def test_a_holder_that_moved_is_not_removed_for_its_old_address(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = (await pair.one.register(claim(HOLDER, instance_id="i"))).instance
    await pair.one.register(claim(HOLDER, port=9000, instance_id="i"))
    pair.has_an_old_view(monkeypatch, msgspec.structs.replace(was, status=Status.CRITICAL))
    await pair.other.register(claim(NEWCOMER))
    await eventually(lambda: pair.feed.catalog.names() == sorted([HOLDER, NEWCOMER]), "both are there")


async def test_one_over_udp_makes_no_room_for_one_over_tcp_in_another_shard_and_needs_none(pair: Pair) -> None:
    holder = (await pair.one.register(claim(HOLDER, protocol=Protocol.UDP))).instance
    await pair.one.set_status(holder.key, Status.CRITICAL)
    await pair.other.register(claim(NEWCOMER, protocol=Protocol.TCP))
    await eventually(lambda: pair.feed.catalog.names() == sorted([HOLDER, NEWCOMER]), "both are there")
    await pair.other.register(claim(NEWCOMER, instance_id="udp", protocol=Protocol.UDP))
    await eventually(lambda: pair.feed.catalog.names() == [NEWCOMER], "the critical one made room for one over UDP")


async def test_one_of_another_service_yields_to_a_key_only_when_it_is_overdue(pair: Pair) -> None:
    holder = (await pair.one.register(claim(HOLDER))).instance
    await pair.one.set_status(holder.key, Status.CRITICAL)
    with pytest.raises(Conflict, match="is registered as instance"):
        await pair.one.register(claim(NEWCOMER), newcomer=Newcomer(may_displace=False))
    await pair.one.register(claim(NEWCOMER))
    assert pair.feed.catalog.names() == [NEWCOMER]


@pytest.mark.parametrize("name_first", [True, False])
async def test_a_name_and_its_address_are_one_place_across_shards(pair: Pair, *, name_first: bool) -> None:
    by_name, by_ip = ("holder_1", ("172.18.0.5", "fd00::5")), ("fd00::5", ("fd00::5",))
    (first, of_first), (second, of_second) = (by_name, by_ip) if name_first else (by_ip, by_name)
    holder = (await pair.one.register(claim(HOLDER, first, addresses=of_first))).instance
    with pytest.raises(Conflict) as refusal:
        await pair.one.register(claim(NEWCOMER, second, addresses=of_second), newcomer=Newcomer(passing=True))
    assert refusal.value.holder == holder.holder
    assert refusal.value.retry_after_s == pytest.approx(35, abs=5)
    await pair.one.set_status(holder.key, Status.CRITICAL)
    await pair.one.register(claim(NEWCOMER, second, addresses=of_second))
    assert pair.feed.catalog.names() == [NEWCOMER]


async def test_a_host_name_that_moved_displaces_one_of_another_shard(pair: Pair) -> None:
    await pair.one.register(claim(HOLDER, "holder_1", addresses=("172.18.0.5",)))
    await pair.one.register(claim(NEWCOMER, "newcomer_1", addresses=("172.18.0.6",)))
    await pair.one.register(claim(NEWCOMER, "newcomer_1", addresses=("172.18.0.5",)))
    assert pair.feed.catalog.names() == [NEWCOMER]


async def test_an_older_owner_displaces_nothing_in_another_shard(pair: Pair) -> None:
    await pair.one.register(claim(HOLDER, "holder_1", addresses=("172.18.0.5",)))
    await pair.one.register(claim(NEWCOMER, "newcomer_1", instance_id="i", epoch=2, addresses=("172.18.0.6",)))
    with pytest.raises(Fenced, match="newcomer_1:8034"):
        await pair.one.register(claim(NEWCOMER, "newcomer_2", instance_id="i", epoch=1, addresses=("172.18.0.5",)))
    assert pair.feed.catalog.names() == sorted([HOLDER, NEWCOMER])


async def test_what_the_release_before_registered_by_name_is_found_by_its_address(
    pair: Pair, servers: tuple[RedisServer, RedisServer]
) -> None:
    """That release keeps an instance in Redis under its host:port alone."""
    await pair.one.register(claim(HOLDER, "holder_1", addresses=("172.18.0.5",)))
    assert servers[0].ask("HDEL", "test:addresses", "172.18.0.5:8034") == 1
    by_ip = claim(HOLDER, "172.18.0.5", addresses=("172.18.0.5",))
    with pytest.raises(Conflict, match="holder_1:8034"):
        await pair.one.register(by_ip)
    await pair.one.deregister(claim(HOLDER, "holder_1").key)
    assert servers[0].ask("HKEYS", "test:addresses") == []
    await pair.one.register(by_ip)


async def test_an_instance_that_leaves_an_address_leaves_it_to_others(
    pair: Pair, servers: tuple[RedisServer, RedisServer]
) -> None:
    await pair.one.register(claim(HOLDER, "holder_1", instance_id="i", addresses=("172.18.0.5", "fd00::5")))
    assert set(servers[0].ask("HKEYS", "test:addresses")) == {"holder_1:8034", "172.18.0.5:8034", "[fd00::5]:8034"}
    await pair.one.register(claim(HOLDER, "fd00::6", instance_id="i", addresses=("fd00::6",)))
    assert servers[0].ask("HKEYS", "test:addresses") == ["[fd00::6]:8034"]


async def test_a_newcomer_must_wait_while_the_holders_shard_is_unreachable(
    pair: Pair, servers: tuple[RedisServer, RedisServer]
) -> None:
    await pair.one.register(claim(HOLDER))
    await asyncio.to_thread(servers[0].kill)
    with pytest.raises(StoreUnavailable):
        await pair.one.register(claim(NEWCOMER))
    assert pair.feed.catalog.names() == [HOLDER], "it is still returned"


async def test_releasing_the_guard_of_an_unreachable_shard_is_an_error(
    pair: Pair, servers: tuple[RedisServer, RedisServer]
) -> None:
    await asyncio.to_thread(servers[0].kill)
    with pytest.raises(StoreUnavailable):
        await pair.one.release_guard("a")
    assert await pair.one.release_guard("b") == ()
