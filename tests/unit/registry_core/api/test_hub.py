"""The watch hub without any connection: what a watcher is sent, and when."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from registry_core.api.hub import HubLimits, WatchHub
from registry_core.api.openings import MAX_EVENTS_BEHIND
from registry_core.api.view import ReplicaView, StoreAge
from registry_core.api.watcher import Watcher
from registry_core.domain.events import Deregistered, Position, Registered, Renewed
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.records import InstanceKey
from registry_core.errors import Overloaded
from registry_core.ports.store import Beat, Snapshot
from registry_core.store.memory import MemoryStore
from registry_core.watch.changes import Replaced
from registry_core.watch.cursor import Cursor, cursor_of, parse_cursor
from registry_core.watch.limits import FIRST_PROTOCOL, MAX_LATE, SYNC_EVERY_S
from registry_core.watch.outbox import BATCH_BYTES
from registry_core.watch.reader import WatchReader
from tests.samples import FakeClock, claim, instance, lived


class Parts:
    """A store, a view and a hub, connected as in a replica."""

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
    """Take everything that is ready for a watcher."""
    taken = b""
    while part := watcher.take():
        taken += part
    return [msgspec.json.decode(line) for line in taken.splitlines()]


def encode_all(found: list[dict[str, Any]]) -> bytes:
    return b"".join(msgspec.json.encode(line) + b"\n" for line in found)


def kinds(watcher: Watcher) -> list[str]:
    return [line["type"] for line in lines(watcher)]


async def test_an_event_is_queued_for_every_watcher_in_the_stores_order(parts: Parts) -> None:
    watchers = [parts.hub.open(Cursor()) for _ in range(3)]
    for port in range(8001, 8004):
        await parts.store.register(claim(port=port))
    for watcher in watchers:
        assert kinds(watcher) == ["snapshot", "sync", "registered", "registered", "registered"]
        assert watcher.take() == b""


async def test_a_snapshot_shows_the_moment_of_its_request(parts: Parts) -> None:
    await parts.store.register(claim(port=8001))
    watcher = parts.hub.open(Cursor())
    await parts.store.register(claim(port=8002))
    snapshot, sync, registered = lines(watcher)
    assert [entry["instance"]["port"] for entry in snapshot["instances"]] == [8001]
    assert sync["cursor"] == snapshot["cursor"]
    assert registered["instance"]["port"] == 8002


@pytest.mark.untraced
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


async def test_a_new_epoch_of_the_store_is_sent_to_every_watcher(parts: Parts) -> None:
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


async def test_a_move_is_sent_as_its_differences(parts: Parts) -> None:
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
    assert [line["instances"] for line in lines(other)] == [[]], "but it must know its position"
    assert kinds(parts.hub.open(parse_cursor("0.e2.5"))) == ["sync"]
    assert lines(parts.hub.open(parse_cursor("0.e1.1")))[0]["reason"] == "epoch"


async def test_a_reader_that_is_ahead_gets_a_snapshot_when_the_history_moves(parts: Parts) -> None:
    await parts.store.register(claim())
    level, ahead = parts.hub.open(parts.view.cursor), parts.hub.open(cursor_of([Position(0, "e1", 9)]))
    assert kinds(level) == kinds(ahead) == ["sync"]
    parts.view.moved(cursor_of([Position(0, "e1", 10)]), [])
    assert (kinds(level), kinds(ahead)) == (["moved"], ["snapshot", "sync"])
    parts.view.moved(cursor_of([Position(0, "e2", 1)]), [])
    assert (kinds(level), kinds(ahead)) == (["moved"], ["moved"]), "both are level by now"


async def test_a_move_names_the_removed_instances_and_the_count_of_the_rest(parts: Parts) -> None:
    for port in (8001, 8002):
        await parts.store.register(claim(port=port))
    whole, part = (
        parts.hub.open(Cursor(), renewals=True, protocol=FIRST_PROTOCOL),
        parts.hub.open(Cursor(), label="ip-intel"),
    )
    other = parts.hub.open(Cursor(), label="billing")
    await parts.store.renew([Beat("ip_intel", f"10.0.0.7:{port}") for port in (8001, 8002)])
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


async def test_renewals_are_gathered_only_for_readers_of_them(parts: Parts) -> None:
    await parts.store.register(claim())
    parts.hub.open(Cursor())
    await parts.store.renew([Beat("ip_intel", "10.0.0.7:8034")])
    assert kinds(parts.hub.open(parts.view.cursor, renewals=True, protocol=FIRST_PROTOCOL)) == ["sync"]
    await parts.store.renew([Beat("ip_intel", "10.0.0.7:8034")])
    resumed = parts.hub.open(parts.view.cursor, renewals=True, protocol=FIRST_PROTOCOL)
    assert kinds(resumed) == ["renewed", "sync"]


async def test_renewals_of_gone_instances_are_not_sent(parts: Parts) -> None:
    watcher = parts.hub.open(Cursor(), renewals=True, protocol=FIRST_PROTOCOL)
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


async def test_a_reader_of_version_2_gets_no_renewals(parts: Parts) -> None:
    watcher = parts.hub.open(Cursor(), renewals=True)
    lines(watcher)
    await parts.store.register(claim())
    await parts.store.renew([Beat("ip_intel", "10.0.0.7:8034")])
    parts.hub.tick()
    assert kinds(watcher) == ["registered", "sync"]


@pytest.mark.parametrize("size", [10, 1000])
async def test_the_cost_of_an_idle_reader_does_not_depend_on_the_fleets_size(parts: Parts, size: int) -> None:
    for port in range(8001, 8001 + size):
        await parts.store.register(claim(port=port))
    watcher = parts.hub.open(Cursor())
    lines(watcher)
    received = 0
    for _ in range(24):  # two minutes
        parts.clock.pass_time(SYNC_EVERY_S)
        await parts.store.renew([Beat("ip_intel", f"10.0.0.7:{port}") for port in range(8001, 8001 + size)])
        parts.hub.tick()
        chunk = watcher.take()
        received += len(chunk) + len(f"{len(chunk):x}") + 4  # as HTTP/1.1 sends it (RFC 9112 section 7.1)
    assert 0 < received / (24 * SYNC_EVERY_S) <= 60


async def test_a_sync_has_no_cursor_while_nothing_happens(parts: Parts) -> None:
    watcher = parts.hub.open(Cursor())
    assert lines(watcher)[-1]["cursor"] == str(parts.view.cursor)
    parts.hub.tick()
    parts.hub.tick()
    assert "cursor" not in lines(watcher)[-1]
    await parts.store.register(claim())
    parts.hub.tick()
    assert lines(watcher)[-1]["cursor"] == str(parts.view.cursor)


async def test_a_sync_names_the_late_leases_and_no_others(parts: Parts) -> None:
    for port in (8001, 8002, 8003):
        await parts.store.register(claim(port=port))
    await parts.store.register(claim("billing", "10.0.0.9"))
    whole, part = parts.hub.open(Cursor()), parts.hub.open(Cursor(), label="billing")
    for watcher in (whole, part):
        lines(watcher)
    parts.clock.pass_time(40)
    await parts.store.renew([Beat("ip_intel", "10.0.0.7:8001")])
    parts.hub.tick()
    assert "late" not in lines(whole)[-1]
    parts.clock.pass_time(6)
    await parts.store.renew([Beat("ip_intel", "10.0.0.7:8002")])
    parts.hub.tick()
    sync = lines(whole)[-1]
    assert [row[:2] for row in sync["late"]] == [["ip_intel", "10.0.0.7:8003"], ["billing", "10.0.0.9:8034"]]
    assert (sync["late_total"], sync["late_after_s"]) == (2, 45.0)
    assert [row[0] for row in lines(part)[-1]["late"]] == ["billing"]
    await parts.store.deregister(InstanceKey("ip-intel", "10.0.0.7:8003"))
    await parts.store.renew([Beat("billing", "10.0.0.9:8034")])
    parts.hub.tick()
    assert "late" not in lines(whole)[-1]


async def test_late_leases_beyond_the_named_ones_are_counted(parts: Parts) -> None:
    for port in range(8001, 8001 + MAX_LATE + 5):
        await parts.store.register(claim(port=port))
    parts.clock.pass_time(50)
    watcher = parts.hub.open(Cursor())
    sync = lines(watcher)[-1]
    assert (len(sync["late"]), sync["late_total"]) == (MAX_LATE, MAX_LATE + 5)


async def test_leases_that_are_silent_since_the_store_was_read_again_become_late_too(parts: Parts) -> None:
    silent, heard = instance(port=8001), instance(port=8002)
    now = parts.clock.wall()
    parts.view.reset(Snapshot(cursor_of([Position(0, "e2", 5)]), (lived(silent, now - 30), lived(heard, now - 30))))
    watcher = parts.hub.open(Cursor())
    assert "late" not in lines(watcher)[-1]
    parts.clock.pass_time(10)
    parts.view.apply([Renewed(Position(0, "e2", 5), heard.key, now + 10)])
    parts.clock.pass_time(6)
    parts.hub.tick()
    (late,) = lines(watcher)[-1]["late"]
    assert late[1:] == ["10.0.0.7:8001", now - 30]


async def test_many_readers_of_everything_share_one_snapshot(parts: Parts) -> None:
    for port in range(8001, 8001 + 2000):
        await parts.store.register(claim(port=port, metadata={"filler": "x" * 200}))
    first = parts.hub.open(Cursor())
    first.take()
    await parts.store.register(claim(port=7000))
    tracemalloc.start()
    try:
        readers = [parts.hub.open(Cursor()) for _ in range(50)]
        begun = [reader.take() for reader in readers]
        took = tracemalloc.get_traced_memory()[0] - sum(map(len, begun))
    finally:
        tracemalloc.stop()
    assert took < 50 * 20_000, "a tuple of 2,000 instances alone would be 16,000 bytes per reader"
    for reader, begin in zip(readers[:2], begun, strict=False):
        rest = [msgspec.json.decode(line) for line in begin.splitlines()] + lines(reader)
        assert sum(len(line["instances"]) for line in rest if line["type"] == "snapshot") == 2000
        assert [line["type"] for line in rest[-2:]] == ["registered", "sync"], "and the events since"
        assert rest[-1]["digest"] == parts.view.catalog.digest


async def test_an_outdated_snapshot_is_not_shared(parts: Parts) -> None:
    first = parts.hub.open(Cursor())
    for number in range(MAX_EVENTS_BEHIND + 1):
        await parts.store.register(claim(metadata={"number": number}))
    second = parts.hub.open(Cursor())
    assert len(lines(second)) == 2
    assert lines(first)[0]["cursor"] != str(parts.view.cursor)


async def test_a_move_too_large_for_a_line_is_sent_as_a_snapshot(parts: Parts) -> None:
    watcher = parts.hub.open(Cursor())
    lines(watcher)
    position = Position(0, "e2", 5)
    differences = [
        Registered(position, instance(port=8001 + n, metadata={"filler": "x" * 8000}), 7.0) for n in range(600)
    ]
    parts.view.moved(cursor_of([position]), differences)
    found = lines(watcher)
    assert {line["type"] for line in found} == {"snapshot", "sync"}
    assert found[0]["reason"] == "epoch"
    assert sum(len(line["instances"]) for line in found[:-1]) == 600
    (change,) = [c for c in WatchReader(Cursor()).feed(encode_all(found)) if isinstance(c, Replaced)]
    assert change.whole


async def test_an_unread_part_of_the_store_is_reported(parts: Parts) -> None:
    parts.view.store = lambda: StoreAge(0.5, ("redis-b",))
    now, before = parts.hub.open(Cursor()), parts.hub.open(Cursor(), protocol=FIRST_PROTOCOL)
    sync = lines(now)[-1]
    assert (sync["store_age_s"], sync["unread"]) == (0.5, ["redis-b"])
    assert lines(before)[-1]["store_age_s"] == 0.5
    parts.view.store = lambda: StoreAge(None, ("redis-a", "redis-b"))
    parts.hub.tick()
    assert "store_age_s" not in lines(now)[-1]
    assert lines(before)[-1]["store_age_s"] == 0.0, "a reader of version 1 accepts only a number"


async def test_a_bare_snapshot_leaves_out_later_events(parts: Parts) -> None:
    await parts.store.register(claim(port=8001))
    watcher = parts.hub.open(Cursor(), label="ip-intel")
    await parts.store.register(claim(port=8002))
    taken = b"".join(iter(watcher.outbox.take_opening, b""))
    assert [msgspec.json.decode(line)["type"] for line in taken.splitlines()] == ["snapshot", "sync"]


@pytest.mark.untraced
async def test_many_renewals_are_split_into_lines_of_bounded_size(parts: Parts) -> None:
    parts.hub.open(Cursor(), renewals=True, protocol=FIRST_PROTOCOL)
    for port in range(8001, 8001 + 1500):
        await parts.store.register(claim(port=port))
        await parts.store.renew([Beat("ip_intel", f"10.0.0.7:{port}")])
    watcher = parts.hub.open(parts.view.cursor, renewals=True, protocol=FIRST_PROTOCOL)
    first, second, sync = lines(watcher)
    assert [len(line["renewed"]) for line in (first, second)] == [1024, 476]
    assert sync["type"] == "sync"


async def test_each_shard_is_resumed_at_its_own_position() -> None:
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


async def test_the_limit_on_watchers_counts_present_ones() -> None:
    parts = Parts(HubLimits(watchers=1))
    await parts.start()
    first = parts.hub.open(Cursor())
    with pytest.raises(Overloaded):
        parts.hub.open(Cursor())
    parts.hub.leave(first)
    parts.hub.leave(first)
    parts.hub.open(Cursor())


async def test_a_hub_that_is_closed_ends_its_watchers_and_takes_no_more(parts: Parts) -> None:
    watcher = parts.hub.open(parts.view.cursor)
    parts.hub.close()
    assert watcher.closed
    with pytest.raises(Overloaded):
        parts.hub.open(Cursor())


async def test_readers_that_left_leave_nothing_behind(parts: Parts) -> None:
    watchers = [parts.hub.open(Cursor(), label=label) for label in (None, "billing", "billing")]
    assert [len(audience) for audience in parts.hub.fanout] == [1, 2]
    for watcher in watchers:
        parts.hub.leave(watcher)
    assert list(parts.hub.fanout) == []


async def test_a_renewal_of_an_unknown_instance_changes_nothing(parts: Parts) -> None:
    watcher = parts.hub.open(parts.view.cursor)
    lines(watcher)
    parts.view.apply([Renewed(Position(0, "e1", 0), InstanceKey("nobody", "x"), 1.0)])
    assert parts.view.ttl_remaining_s(InstanceKey("nobody", "x")) == 0.0
    assert kinds(watcher) == []


async def test_a_watcher_in_turn_is_owed_its_first_snapshot_and_gets_it_as_of_then(parts: Parts) -> None:
    await parts.store.register(claim(port=8001))
    watcher = parts.hub.open(Cursor(), in_turn=True)
    assert watcher.outbox.owes == "start"
    await parts.store.register(claim(port=8002))
    snapshot, sync = lines(watcher)
    assert (snapshot["reason"], len(snapshot["instances"])) == ("start", 2)
    assert sync["cursor"] == str(parts.view.cursor)
    known = parts.hub.open(parts.view.cursor, in_turn=True)
    assert known.outbox.owes is None
    assert kinds(known) == ["sync"]
