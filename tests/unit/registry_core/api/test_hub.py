"""The watch hub without any connection: what a watcher is to be sent, and when."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from registry_core.api.hub import BATCH_BYTES, HubLimits, Watcher, WatchHub
from registry_core.api.view import ReplicaView
from registry_core.domain.events import Deregistered, Position, Registered, Renewed
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.records import InstanceKey
from registry_core.errors import Overloaded
from registry_core.ports import Beat, Snapshot
from registry_core.store.memory import MemoryStore
from registry_core.watch.cursor import Cursor, cursor_of, parse_cursor
from tests.samples import FakeClock, claim, instance, lived


class Parts:
    """A store, a view and a hub, joined as in a replica."""

    def __init__(self, limits: HubLimits | None = None) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock, LeaseTerms(), "e1", random.Random(1))
        self.view = ReplicaView(self.clock, ttl_s=60, warming_s=0, store_age_s=self.store.age_s)
        self.hub = WatchHub(self.view, limits)

    async def start(self) -> None:
        await self.store.start(self.view)


@pytest_asyncio.fixture
async def parts() -> AsyncIterator[Parts]:
    joined = Parts()
    await joined.start()
    yield joined


def lines(watcher: Watcher) -> list[dict[str, Any]]:
    """Take everything that there is for a watcher now."""
    taken = b""
    while part := watcher.take():
        taken += part
    return [msgspec.json.decode(line) for line in taken.splitlines()]


def kinds(watcher: Watcher) -> list[str]:
    return [line["type"] for line in lines(watcher)]


async def test_an_event_is_queued_for_everybody_in_the_order_of_the_store(parts: Parts) -> None:
    watchers = [parts.hub.open(Cursor()) for _ in range(3)]
    for port in range(8001, 8004):
        await parts.store.register(claim(port=port))
    for watcher in watchers:
        assert kinds(watcher) == ["snapshot", "sync", "registered", "registered", "registered"]
        assert watcher.take() == b""


async def test_a_snapshot_is_of_the_moment_at_which_it_was_asked_for(parts: Parts) -> None:
    await parts.store.register(claim(port=8001))
    watcher = parts.hub.open(Cursor())
    await parts.store.register(claim(port=8002))
    snapshot, sync, registered = lines(watcher)
    assert [entry["instance"]["port"] for entry in snapshot["instances"]] == [8001]
    assert sync["cursor"] == snapshot["cursor"]
    assert registered["instance"]["port"] == 8002


async def test_a_large_snapshot_is_encoded_only_as_fast_as_it_is_read(parts: Parts) -> None:
    for port in range(8001, 8001 + 2000):
        await parts.store.register(claim(port=port, metadata={"filler": "x" * 200}))
    watcher = parts.hub.open(Cursor())
    sizes = []
    while part := watcher.take():
        sizes.append(len(part))
    assert len(sizes) > 5
    assert max(sizes) < BATCH_BYTES + 256 * 1024


async def test_history_is_bounded_in_bytes_too() -> None:
    parts = Parts(HubLimits(history_bytes=20_000))
    await parts.start()
    start = parts.view.cursor
    for number in range(50):
        await parts.store.register(claim(metadata={"filler": "x" * 1000, "number": number}))
    assert lines(parts.hub.open(start))[0]["reason"] == "behind"
    near = Position(0, "e1", parts.view.cursor.positions[0].revision - 5)
    assert kinds(parts.hub.open(cursor_of([near]))) == ["registered"] * 5 + ["sync"]


async def test_before_the_store_has_delivered_no_cursor_is_known() -> None:
    parts = Parts()
    assert lines(parts.hub.open(parse_cursor("0.e1.0")))[0]["reason"] == "epoch"


async def test_an_overflowing_queue_is_dropped_and_a_snapshot_is_owed() -> None:
    parts = Parts(HubLimits(queue_lines=3))
    await parts.start()
    watcher = parts.hub.open(Cursor())
    assert kinds(watcher) == ["snapshot", "sync"]
    for port in range(8001, 8010):
        await parts.store.register(claim(port=port))
    snapshot, sync = lines(watcher)
    assert (snapshot["reason"], len(snapshot["instances"])) == ("lagged", 9)
    assert sync["digest"] == parts.view.catalog.digest
    await parts.store.register(claim(port=8020))
    assert kinds(watcher) == ["registered"]


async def test_a_queue_that_overflows_during_the_first_snapshot_leads_to_a_second_one() -> None:
    parts = Parts(HubLimits(queue_lines=2))
    await parts.start()
    watcher = parts.hub.open(Cursor())
    for port in range(8001, 8006):
        await parts.store.register(claim(port=port))
    first, first_sync, second, second_sync = lines(watcher)
    assert (first["reason"], second["reason"]) == ("start", "lagged")
    assert first_sync["digest"] == first["digest"] != second_sync["digest"] == parts.view.catalog.digest


async def test_a_new_life_of_the_store_is_told_to_whoever_reads(parts: Parts) -> None:
    watcher = parts.hub.open(Cursor())
    await parts.store.register(claim())
    record = lived(instance("billing"))
    parts.view.reset(Snapshot(cursor_of([Position(0, "e2", 5)]), (record,)))
    snapshot, _ = lines(watcher)
    assert (snapshot["reason"], snapshot["cursor"]) == ("epoch", "0.e2.5")
    assert [entry["instance"]["service_name"] for entry in snapshot["instances"]] == ["billing"]
    assert lines(parts.hub.open(parse_cursor("0.e1.1")))[0]["reason"] == "epoch"
    assert kinds(parts.hub.open(parse_cursor("0.e2.5"))) == ["sync"]
    assert lines(parts.hub.open(parse_cursor("0.e2.4")))[0]["reason"] == "behind"


async def test_a_history_that_goes_on_elsewhere_is_told_as_what_differs(parts: Parts) -> None:
    await parts.store.register(claim())
    whole, part, other = (parts.hub.open(Cursor(), label=label) for label in (None, "billing", "ip-intel"))
    for watcher in (whole, part, other):
        lines(watcher)
    position = Position(0, "e2", 5)
    parts.view.moved(cursor_of([position]), [Registered(position, instance("billing"), 7.0)])
    (moved,) = lines(whole)
    assert (moved["type"], moved["cursor"], moved["digest"]) == ("moved", "0.e2.5", parts.view.catalog.digest)
    assert [entry["instance"]["service_name"] for entry in moved["instances"]] == ["billing"]
    assert [len(line["instances"]) for line in lines(part)] == [1]
    assert [line["instances"] for line in lines(other)] == [[]], "but it has to know where it stands"
    assert kinds(parts.hub.open(parse_cursor("0.e2.5"))) == ["sync"]
    assert lines(parts.hub.open(parse_cursor("0.e1.1")))[0]["reason"] == "epoch"


async def test_who_was_taken_out_where_history_goes_on_is_told_with_how_many_are_left(parts: Parts) -> None:
    for port in (8001, 8002):
        await parts.store.register(claim(port=port))
        await parts.store.renew([Beat("ip_intel", f"10.0.0.7:{port}")])
    whole, part = parts.hub.open(Cursor(), renewals=True), parts.hub.open(Cursor(), label="ip-intel")
    other = parts.hub.open(Cursor(), label="billing")
    for watcher in (whole, part, other):
        lines(watcher)
    position = Position(0, "e2", 5)
    key = InstanceKey("ip-intel", "10.0.0.7:8001")
    parts.view.moved(cursor_of([position]), [Deregistered(position, key)])
    gone = ["ip-intel", "10.0.0.7:8001", 1]
    for watcher, removed in ((whole, [gone]), (part, [gone]), (other, [])):
        (moved,) = lines(watcher)
        assert (moved["type"], moved["instances"], moved["removed"]) == ("moved", [], removed)
    parts.hub.tick()
    assert [row[1] for row in lines(whole)[0]["renewed"]] == ["10.0.0.7:8002"]


async def test_renewals_of_what_is_gone_are_not_told(parts: Parts) -> None:
    watcher = parts.hub.open(Cursor(), renewals=True)
    lines(watcher)
    for port in (8001, 8002):
        await parts.store.register(claim(port=port))
        await parts.store.renew([Beat("ip_intel", f"10.0.0.7:{port}")])
    await parts.store.deregister(InstanceKey("ip-intel", "10.0.0.7:8001"))
    lines(watcher)
    parts.hub.tick()
    renewed, sync = lines(watcher)
    assert [row[1] for row in renewed["renewed"]] == ["10.0.0.7:8002"]
    assert sync["type"] == "sync"


async def test_many_renewals_come_in_lines_of_bounded_size(parts: Parts) -> None:
    for port in range(8001, 8001 + 1500):
        await parts.store.register(claim(port=port))
        await parts.store.renew([Beat("ip_intel", f"10.0.0.7:{port}")])
    watcher = parts.hub.open(parts.view.cursor, renewals=True)
    first, second, sync = lines(watcher)
    assert [len(line["renewed"]) for line in (first, second)] == [1024, 476]
    assert sync["type"] == "sync"


async def test_two_shards_are_resumed_each_where_the_reader_stood() -> None:
    parts = Parts()
    begin = cursor_of([Position(0, "a", 10), Position(1, "b", 20)])
    parts.view.reset(Snapshot(begin, ()))
    for position in (Position(1, "b", 21), Position(0, "a", 11), Position(1, "b", 22)):
        parts.view.apply([Registered(position, instance(port=8000 + position.revision), 1.0)])
    seen = begin.moved_to(Position(1, "b", 21))
    found = lines(parts.hub.open(seen))
    assert [line["instance"]["port"] for line in found[:-1]] == [8011, 8022]
    assert found[-1]["cursor"] == "0.a.11~1.b.22"
    assert lines(parts.hub.open(parse_cursor("0.a.11")))[0]["reason"] == "epoch"


async def test_the_limit_on_watchers_counts_those_that_are_there() -> None:
    parts = Parts(HubLimits(watchers=1))
    await parts.start()
    first = parts.hub.open(Cursor())
    with pytest.raises(Overloaded):
        parts.hub.open(Cursor())
    parts.hub.leave(first)
    parts.hub.leave(first)
    parts.hub.open(Cursor())


async def test_a_watcher_waits_until_there_is_something(parts: Parts) -> None:
    watcher = parts.hub.open(parts.view.cursor)
    lines(watcher)
    with pytest.raises(TimeoutError):
        await watcher.wait(0.01)
    await parts.store.register(claim())
    await watcher.wait(10)
    assert kinds(watcher) == ["registered"]
    parts.hub.close()
    await watcher.wait(10)
    assert watcher.closed
    with pytest.raises(Overloaded):
        parts.hub.open(Cursor())


async def test_a_renewal_of_the_unknown_changes_nothing(parts: Parts) -> None:
    watcher = parts.hub.open(parts.view.cursor)
    lines(watcher)
    parts.view.apply([Renewed(Position(0, "e1", 0), InstanceKey("nobody", "x"), 1.0)])
    assert parts.view.ttl_remaining_s(InstanceKey("nobody", "x")) == 0.0
    assert kinds(watcher) == []
