"""The replica's view: ages of heartbeats, and what it does not know yet."""

from __future__ import annotations

from registry_core.api.view import ReplicaState, ReplicaView
from registry_core.domain.catalog import Lived
from registry_core.domain.events import Deregistered, Position, Registered, Renewed, StatusChanged
from registry_core.domain.records import Status
from registry_core.ports.store import Snapshot
from registry_core.watch.cursor import Cursor, cursor_of
from tests.samples import FakeClock, instance, lived

BEGIN = cursor_of([Position(0, "e1", 0)])


def view(clock: FakeClock, warming_s: float = 60.0) -> ReplicaView:
    return ReplicaView(clock, ttl_s=60.0, warming_s=warming_s, store_age_s=lambda: 0.0)


def test_an_empty_start_warms_for_its_time_and_no_longer() -> None:
    clock = FakeClock()
    warm = view(clock)
    assert (warm.loaded, warm.state) == (False, ReplicaState.WARMING)
    warm.reset(Snapshot(BEGIN, ()))
    assert (warm.loaded, warm.state, warm.warm_in_s()) == (True, ReplicaState.WARMING, 60.0)
    clock.pass_time(59.9)
    assert warm.state is ReplicaState.WARMING
    clock.pass_time(0.2)
    assert (warm.state, warm.warm_in_s()) == (ReplicaState.READY, 0.0)


def test_a_start_with_records_is_ready() -> None:
    known = view(FakeClock())
    known.reset(Snapshot(BEGIN, (lived(instance()),)))
    assert known.state is ReplicaState.READY


def test_a_store_that_comes_back_empty_warms_again() -> None:
    clock = FakeClock()
    again = view(clock)
    again.reset(Snapshot(BEGIN, (lived(instance()),)))
    clock.pass_time(100)
    again.reset(Snapshot(cursor_of([Position(0, "e2", 0)]), ()))
    assert again.state is ReplicaState.WARMING
    assert len(again.catalog) == 0


def test_the_age_of_a_heartbeat_is_counted_on_this_machine() -> None:
    clock = FakeClock()
    aged = view(clock)
    record = instance()
    aged.reset(Snapshot(BEGIN, ()))
    aged.apply([Registered(Position(0, "e1", 1), record, heartbeat_at=1.0)])
    assert aged.ttl_remaining_s(record.key) == 60.0
    clock.pass_time(70)
    clock.step_wall(-5000)
    assert aged.ttl_remaining_s(record.key) == -10.0
    aged.apply([StatusChanged(Position(0, "e1", 2), record.key, Status.WARNING)])
    assert aged.ttl_remaining_s(record.key) == -10.0
    aged.apply([Renewed(Position(0, "e1", 2), record.key, 2.0)])
    assert aged.ttl_remaining_s(record.key) == 60.0
    aged.apply([Deregistered(Position(0, "e1", 3), record.key)])
    assert aged.ttl_remaining_s(record.key) == 0.0


def test_an_age_in_a_snapshot_is_capped_at_a_lease() -> None:
    clock = FakeClock(wall=10_000.0)
    young, old, ahead = (instance(port=p) for p in (8001, 8002, 8003))
    aged = view(clock)
    aged.reset(Snapshot(BEGIN, (lived(young, 9_990.0), lived(old, 1.0), lived(ahead, 20_000.0))))
    assert [aged.ttl_remaining_s(i.key) for i in (young, old, ahead)] == [50.0, 0.0, 60.0]


def test_the_cursor_moves_with_events_and_not_with_renewals() -> None:
    moved = view(FakeClock())
    assert moved.cursor == Cursor()
    moved.reset(Snapshot(BEGIN, ()))
    record = instance()
    moved.apply([Registered(Position(0, "e1", 1), record, 1.0), Renewed(Position(0, "e1", 1), record.key, 2.0)])
    assert str(moved.cursor) == "0.e1.1"


def test_late_leases_are_named_oldest_first_including_those_silent_since_the_start() -> None:
    clock = FakeClock()
    aged = view(clock)
    ages = {7: 3.0, 1: 9.0, 5: 1.0, 3: 7.0, 9: 5.0}
    records = {age_s: instance(port=8000 + port) for port, age_s in ages.items()}
    aged.reset(Snapshot(BEGIN, tuple(Lived(record, clock.wall() - age_s) for age_s, record in records.items())))
    clock.pass_time(37)
    assert late_of(aged) == ([9.0], 1)
    clock.pass_time(6)
    assert late_of(aged) == ([9.0, 7.0, 5.0], 4), "at most three are named"
    aged.apply([Renewed(Position(0, "", 0), records[7.0].key, clock.wall())])
    aged.apply([Deregistered(Position(0, "e1", 1), records[5.0].key)])
    assert late_of(aged) == ([9.0, 3.0], 2)
    clock.pass_time(46)
    assert late_of(aged) == ([9.0, 3.0, 1.0], 4), "the renewed one is late again, and last"


def late_of(aged: ReplicaView) -> tuple[list[float], int]:
    """Return the ages at the start of the named late leases, and the number of all late ones."""
    rows, total = aged.late(3)
    return [FakeClock().wall() - heartbeat_at for _, _, heartbeat_at in rows], total


def test_a_record_that_turns_suspect_does_not_count_as_a_heartbeat() -> None:
    clock = FakeClock()
    aged = view(clock)
    aged.reset(Snapshot(BEGIN, ()))
    record, suspect = instance(), instance(suspect=True)
    aged.apply([Registered(Position(0, "e1", 1), record, clock.wall())])
    clock.pass_time(80)
    aged.apply([Registered(Position(0, "e1", 2), suspect, clock.wall() - 80)])
    assert aged.ttl_remaining_s(record.key) == -20.0
    assert aged.catalog.get(record.key) == suspect
    aged.apply([Registered(Position(0, "e1", 3), record, clock.wall())])
    assert aged.ttl_remaining_s(record.key) == 60.0
