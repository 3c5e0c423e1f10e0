"""The view as a cache: what is a hit, how much memory it takes, and how old its oldest entry is."""

from __future__ import annotations

import random

from registry_core.api.view import ReplicaView
from registry_core.api.view_measures import ViewMeasures
from registry_core.domain.events import Deregistered, Position, Registered, Renewed
from registry_core.domain.footprint import SERVICE_BYTES, instance_bytes
from registry_core.ports.store import Snapshot
from registry_core.telemetry.metrics import ReplicaMetrics
from registry_core.watch.cursor import cursor_of
from tests.samples import FakeClock, instance, lived

BEGIN = cursor_of([Position(0, "e1", 0)])


def view_of(clock: FakeClock) -> ReplicaView:
    return ReplicaView(clock, ttl_s=60.0, warming_s=60.0, store_age_s=lambda: 0.0)


def test_a_certain_absence_is_a_hit_and_a_refusal_is_neither() -> None:
    metrics, clock = ReplicaMetrics(), FakeClock()
    measures = ViewMeasures(view_of(clock), metrics.lookups, clock, least_lookups=8)
    for outcome, times in (("success", 3), ("NotFound", 3), ("Warming", 1), ("StoreUnavailable", 1), ("Boom", 9)):
        for _ in range(times):
            metrics.ended("lookup", outcome, 0.001)
    metrics.ended("heartbeat", "StoreUnavailable", 0.001)
    assert metrics.lookups() == {"found": 3, "absent": 3, "unknown": 2, "refused": 9}
    assert (measures.hits, measures.misses, measures.hit_rate) == (6, 2, 0.75)
    for _ in range(13):
        measures.look()
        clock.pass_time(5.0)
    assert measures.hit_rate is None  # all of that is a minute ago


def test_the_memory_of_a_large_view_is_estimated_from_a_part_of_it() -> None:
    clock, chance = FakeClock(), random.Random(7)
    view = view_of(clock)
    records = [
        lived(
            instance(f"service_{number % 100}", "10.0.0.7", 1 + number, metadata={"team": "x" * chance.randrange(200)})
        )
        for number in range(20_000)
    ]
    measures = ViewMeasures(view, ReplicaMetrics().lookups, clock, least_lookups=1)
    assert measures.bytes == 0
    view.reset(Snapshot(BEGIN, tuple(records)))
    exact = sum(instance_bytes(record.instance) for record in records) + 100 * SERVICE_BYTES
    assert 0.9 * exact < measures.bytes < 1.1 * exact


def test_the_oldest_entry_is_the_instance_that_is_silent_the_longest() -> None:
    clock = FakeClock()
    view = view_of(clock)
    assert view.oldest_age_s() is None
    first, second = instance(port=8001), instance(port=8002)
    # The heartbeats before the start are known from the store's clock, and never believed beyond the TTL.
    view.reset(Snapshot(BEGIN, (lived(first, clock.wall() - 20), lived(second, clock.wall() - 5000))))
    assert view.oldest_age_s() == 60
    clock.pass_time(1)
    view.apply([Renewed(Position(0, "e1", 0), second.key, clock.wall())])
    assert view.oldest_age_s() == 21
    view.apply([Deregistered(Position(0, "e1", 1), first.key)])
    clock.pass_time(2)
    view.apply([Registered(Position(0, "e1", 2), instance(port=8003), heartbeat_at=clock.wall())])
    assert view.oldest_age_s() == 2
