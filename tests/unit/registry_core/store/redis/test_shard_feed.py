"""What a follower delivers to the store, and what it learns back: the store is the feed of all its shards."""

from __future__ import annotations

import random

import pytest

from registry_core.domain.events import Deregistered, Position, Registered, Renewed
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.records import Instance
from registry_core.store.redis.shard_feed import ShardFeed
from registry_core.store.redis.shard_records import ShardRecords
from registry_core.store.redis.store import RedisStore
from registry_core.store.redis.watcher import MasterWatcher
from tests.samples import FakeClock, instance, lived
from tests.watch_lines import at

A, B = instance("billing", "10.0.0.1", instance_id="a"), instance("geo_ip", "10.0.0.2", instance_id="b")


def feed_of(*names: str) -> ShardFeed:
    return RedisStore(
        [MasterWatcher(name) for name in names],
        prefix="vertice",
        replicas=0,
        terms=LeaseTerms(),
        clock=FakeClock(),
        random=random.Random(1),
    )


def holding(*instances: Instance, heartbeat_at: float = 1.0) -> ShardRecords:
    return ShardRecords(lived(one, heartbeat_at) for one in instances)


async def read(
    feed: ShardFeed, shard: int, records: ShardRecords, position: Position | None = None, *, whole: bool = True
) -> None:
    await feed.shard_read(shard, position or at(1, shard=shard), records, whole=whole, born_empty=False)


async def test_nothing_is_known_before_the_first_delivery() -> None:
    feed = feed_of("a", "b")
    for shard in (0, 1):
        assert (feed.size(shard), feed.instances(shard)) == (0, [])
        assert feed.instance(shard, A.key) is None
        assert feed.heard_at(shard, A.key) == 0.0
        assert feed.missing(shard, holding(A)) == []


async def test_a_shards_records_belong_to_that_shard_only() -> None:
    feed = feed_of("a", "b")
    await read(feed, 1, holding(A, B, heartbeat_at=7.5))
    assert (feed.size(0), feed.size(1)) == (0, 2)
    assert feed.instances(1) == [A, B]
    assert (feed.instance(1, A.key), feed.instance(0, A.key)) == (A, None)
    assert (feed.heard_at(1, A.key), feed.heard_at(0, A.key)) == (7.5, 0.0)


async def test_delivered_records_that_are_not_read_again_are_missing() -> None:
    feed = feed_of("a", "b")
    await read(feed, 0, holding(A, B))
    assert feed.missing(0, holding(B)) == [A.key]
    assert set(feed.missing(0, holding())) == {A.key, B.key}
    assert feed.missing(0, holding(A, B, instance("search"))) == []
    assert feed.missing(1, holding()) == [], "of another shard"


@pytest.mark.parametrize("whole", [True, False])
async def test_a_shard_holds_what_was_read_last(whole: bool) -> None:
    feed = feed_of("a", "b")
    await read(feed, 0, holding(A))
    await read(feed, 0, holding(B), at(2), whole=whole)
    assert feed.instances(0) == [B]
    assert feed.missing(0, holding()) == [B.key]


async def test_events_change_the_records_of_their_shard() -> None:
    feed = feed_of("a", "b")
    await read(feed, 0, holding(A))
    await read(feed, 1, holding())
    feed.shard_events([Registered(at(2), B, 3.0), Renewed(at(2), A.key, 9.0)])
    assert (feed.size(0), feed.size(1)) == (2, 0)
    assert (feed.heard_at(0, B.key), feed.heard_at(0, A.key)) == (3.0, 9.0)
    feed.shard_events([Deregistered(at(3), A.key)])
    assert feed.instances(0) == [B]


async def test_no_events_change_nothing() -> None:
    feed = feed_of("a")
    await read(feed, 0, holding(A))
    feed.shard_events([])
    feed.shard_events([Deregistered(at(2), B.key), Renewed(at(2), B.key, 9.0)])
    assert feed.instances(0) == [A]
    assert feed.heard_at(0, B.key) == 0.0
