"""What a view with little room holds, what it reads on demand, and what it discards."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Iterator

import msgspec
import pytest

from agent.view.cache import MAX_EXPECTED_EVENTS, ViewCache
from agent.view.lru import MEGABYTE, ServiceLru, ViewLimits
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.digest import instance_digest
from registry_core.domain.events import Deregistered, Event, Position, Registered, StatusChanged
from registry_core.domain.footprint import SERVICE_BYTES, instance_bytes
from registry_core.domain.records import Instance, InstanceKey, Protocol, Status, _key_of
from registry_core.watch.cursor import Cursor, cursor_of
from registry_core.watch.stage import Rest
from tests.samples import instance, lived

A, B, C, D = (instance(name, f"10.0.0.{n}") for n, name in enumerate(("aaa", "bbb", "ccc", "ddd"), 1))
ROOMY = ViewLimits(1000, 50 * MEGABYTE)


def at(revision: int, epoch: str = "e") -> Position:
    return Position(0, epoch, revision)


def cursor(revision: int, epoch: str = "e") -> Cursor:
    return cursor_of([at(revision, epoch)])


def digest(*instances: Instance) -> str:
    catalog = Catalog()
    catalog.merge(map(lived, instances))
    return catalog.digest


def change(before: Instance, after: Instance) -> int:
    """Return the change of a digest when `before` becomes `after`."""
    return instance_digest(before) ^ instance_digest(after)


def holding(*instances: Instance, services: int = 2, size: int = 50 * MEGABYTE, own: str = "") -> ViewCache:
    cache = ViewCache(ViewLimits(services, size), frozenset([own] if own else ()))
    snapshot(cache, *instances)
    return cache


def snapshot(cache: ViewCache, *instances: Instance) -> set[str]:
    staging = cache.staging()
    staging.add(map(lived, instances))
    changed = cache.replace(*staging.taken())
    assert cache.adds_up(digest(*instances))
    return changed


def held(cache: ViewCache) -> list[str]:
    return cache.catalog.names()


def read(cache: ViewCache, record: Instance, revision: int = 1) -> set[str] | None:
    return cache.take(record.key.label, [lived(record)], cursor(revision), digest(record))


# -- what is held


def test_a_fleet_that_fits_is_held_completely() -> None:
    cache = holding(A, B)
    assert held(cache) == ["aaa", "bbb"]
    assert cache.absent == {}


def test_all_names_of_a_larger_fleet_are_known() -> None:
    cache = holding(A, B, C, D)
    assert held(cache) == ["aaa", "bbb"]
    assert cache.names() == ["aaa", "bbb", "ccc", "ddd"]


def test_an_own_service_is_always_held() -> None:
    cache = holding(A, B, C, D, own="ddd")
    assert held(cache) == ["aaa", "ddd"]
    for name in ("bbb", "ccc"):
        cache.expect(name, cursor(1))
    read(cache, B)
    read(cache, C)
    assert held(cache) == ["ccc", "ddd"]


def test_the_least_recently_used_service_is_evicted_after_the_unused_ones() -> None:
    cache = holding(A, B, C, services=3)
    cache.asked("ccc")
    cache.asked("aaa")
    snapshot(cache, A, B, C, D)
    assert "bbb" in held(cache), "there was no room for the new one, and it is unused"
    for expected in (["aaa", "ccc", "ddd"], ["aaa", "bbb", "ddd"]):
        missing = cache.absent.keys() & {"bbb", "ddd"}
        label = missing.pop()
        cache.expect(label, cursor(1))
        assert read(cache, {"bbb": B, "ddd": D}[label]) is not None
        assert held(cache) == expected
    assert cache.evictions == 2


def test_an_event_does_not_count_as_a_lookup() -> None:
    cache = holding(A, B)
    cache.asked("aaa")
    cache.asked("bbb")
    cache.apply(StatusChanged(at(2), A.key, Status.WARNING))
    cache.apply(Registered(at(3), C, 1.0))
    cache.expect("ccc", cursor(3))
    read(cache, C, 3)
    assert held(cache) == ["bbb", "ccc"]


def test_a_new_snapshot_keeps_the_services_in_use() -> None:
    cache = holding(A, B, C, D)
    cache.expect("ddd", cursor(1))
    assert read(cache, D) == {"ddd", "bbb"}
    snapshot(cache, A, B, C, D)
    assert held(cache) == ["aaa", "ddd"]


def test_a_growing_service_evicts_others_but_stays_when_in_use() -> None:
    size = 3 * (SERVICE_BYTES + instance_bytes(A))
    cache = holding(A, B, services=10, size=size)
    cache.asked("bbb")
    gone = set()
    for port in range(1, 9):
        gone |= cache.apply(Registered(at(port), instance("bbb", "10.0.0.2", port), 1.0))
    assert gone == {"aaa", "bbb"}
    assert held(cache) == ["bbb"]
    assert len(cache.catalog) == 9
    assert cache.lru.bytes > size, "the most recently used one is held, whatever its size"


def test_an_unused_service_that_is_too_large_is_not_held() -> None:
    cache = holding(*(instance("bbb", "10.0.0.2", port) for port in range(1, 9)), size=3 * instance_bytes(A))
    assert held(cache) == []


def test_a_fleet_that_shrank_is_wanted_again() -> None:
    cache = holding(A, B, C, D)
    assert cache.wanted_back(10) == []
    for revision, record in ((2, A), (3, B)):
        cache.apply(Deregistered(at(revision), record.key), change=1, count=0)
    assert cache.wanted_back(10) == ["ccc", "ddd"]
    assert cache.wanted_back(1) == ["ccc"]


def test_the_cache_counts_the_room_it_uses() -> None:
    room = ServiceLru(ViewLimits(2, 100))
    for label in ("a", "b", "c"):
        room.put(label, 10)
        room.asked(label)
    room.put("a", 25)
    assert (len(room), room.bytes, room.size_of("a")) == (3, 45, 25)
    assert room.give_up() == "a", "it is the least recently used, whenever its size changed"
    assert room.give_up() is None
    assert room.bytes == 20


def test_a_service_can_become_an_own_one_and_cease_to_be_one() -> None:
    room = ServiceLru(ViewLimits(2, 100), frozenset({"a"}))
    for label in ("a", "b", "c"):
        room.put(label, 10)
    room.use_own(frozenset({"b", "d"}))
    assert (len(room), room.bytes) == (3, 30)
    assert room.give_up() in {"a", "c"}
    room.put("d", 10)
    assert room.give_up() in {"a", "c"}
    assert room.give_up() is None
    assert sorted(room.labels()) == ["b", "d"]


# -- events of unheld services


def test_names_come_and_go_with_unheld_services() -> None:
    cache = holding(A, B, C)
    two = instance("ccc", "10.0.0.3", 9000, protocol=Protocol.UDP)
    assert cache.apply(Registered(at(2), two, 1.0), change=1, count=2) == {"ccc"}
    assert cache.absent["ccc"].transports == {Protocol.TCP, Protocol.UDP}
    assert cache.apply(Deregistered(at(3), C.key), change=2, count=1) == set()
    assert cache.apply(Registered(at(4), D, 1.0), change=3, count=1) == {"ddd"}
    assert cache.names() == ["aaa", "bbb", "ccc", "ddd"]
    assert cache.apply(Deregistered(at(5), two.key), change=4, count=0) == {"ccc"}
    assert cache.names() == ["aaa", "bbb", "ddd"]


def test_a_lost_change_of_a_held_service_shows_in_the_digest_and_one_of_the_rest_does_not_hide_it() -> None:
    cache = holding(A, B, C)
    c_critical = instance("ccc", "10.0.0.3", status=Status.CRITICAL)
    changed = StatusChanged(at(2), C.key, Status.CRITICAL)
    cache.apply(changed, change=change(C, c_critical), count=1)
    assert cache.adds_up(digest(A, B, c_critical))
    other_b = instance("bbb", "10.0.0.2", weight=9)
    assert not cache.adds_up(digest(A, other_b, c_critical))
    cache.apply(StatusChanged(at(3), C.key, Status.PASSING), change=change(c_critical, C), count=1)
    assert not cache.adds_up(digest(A, other_b, C))


def test_a_registry_without_a_digest_is_believed_about_the_rest() -> None:
    cache = holding(A, B, C)
    cache.apply(Deregistered(at(2), C.key))
    assert cache.names() == ["aaa", "bbb", "ccc"], "whether it has other instances is unknown"
    assert cache.adds_up(digest(A, B))
    cache.expect("ccc", cursor(2))
    assert cache.take("ccc", [], cursor(2), digest()) == {"ccc"}
    assert cache.names() == ["aaa", "bbb"]
    assert cache.adds_up(digest(A, B))


def test_a_move_changes_the_held_services_and_the_digest_of_the_rest() -> None:
    cache = holding(A, B, C)
    other_b = instance("bbb", "10.0.0.2", weight=9)
    c_udp = instance("ccc", "10.0.0.4", protocol=Protocol.UDP)
    d = instance("ddd", "10.0.0.5")
    cache.expect("ccc", cursor(1))
    assert cache.move(map(lived, (other_b, c_udp, d))) == {"bbb", "ccc", "ddd"}
    assert held(cache) == ["aaa", "bbb"], "a service is not held in part"
    assert cache.names() == ["aaa", "bbb", "ccc", "ddd"]
    assert cache.absent["ccc"].transports == {Protocol.TCP, Protocol.UDP}
    assert cache.catalog.get(B.key) == other_b
    assert cache.adds_up(digest(A, other_b, C, c_udp, d)), "unheld services are believed"
    assert cache.move(map(lived, (c_udp,))) == set()
    assert read(cache, C) is None, "the running reading is of the old history"


def test_a_move_of_held_services_is_checked_exactly() -> None:
    cache = holding(A, B)
    other_b = instance("bbb", "10.0.0.2", weight=9)
    assert cache.move([lived(other_b)]) == {"bbb"}
    assert not cache.adds_up(digest(A, B))
    assert cache.adds_up(digest(A, other_b))


def test_an_instance_removed_by_a_move_is_gone_whether_held_or_not() -> None:
    second_a, second_c = (instance(name, "10.0.0.9", port=8035) for name in ("aaa", "ccc"))
    cache = holding(A, second_a, B, C, second_c)
    size = cache.lru.size_of("aaa")
    assert cache.move([], [(second_a.key, 1), (B.key, 0), (second_c.key, 1)]) == {"aaa", "bbb"}
    assert held(cache) == ["aaa"]
    assert cache.names() == ["aaa", "ccc"], "one instance of ccc is left"
    assert (cache.lru.size_of("aaa") or 0) == (size or 0) - instance_bytes(second_a)
    assert cache.adds_up(digest(A, C))
    assert cache.move([], [(C.key, 0), (D.key, 0)]) == {"ccc"}, "nothing was known about ddd"
    assert cache.names() == ["aaa"]
    assert cache.adds_up(digest(A))


# -- readings of single services


@pytest.mark.parametrize(
    ("instances", "at_cursor", "said"),
    [
        pytest.param([C], cursor(4), digest(C), id="older than the view"),
        pytest.param([C], cursor(9, "f"), digest(C), id="of another history"),
        pytest.param([C], Cursor(), digest(C), id="of no history"),
        pytest.param([C], cursor(5), digest(A), id="not what the registry has"),
        pytest.param([C, A], cursor(5), digest(C, A), id="not what was asked for"),
    ],
)
def test_an_untrusted_reading_is_discarded(instances: list[Instance], at_cursor: Cursor, said: str) -> None:
    cache = holding(A, B, C)
    cache.expect("ccc", cursor(5))
    assert cache.take("ccc", [*map(lived, instances)], at_cursor, said) is None
    assert held(cache) == ["aaa", "bbb"]
    assert cache.adds_up(digest(A, B, C))


def test_a_reading_from_before_a_snapshot_is_discarded_after_it() -> None:
    cache = holding(A, B, C)
    cache.expect("ccc", cursor(1))
    snapshot(cache, A, B, C)
    assert read(cache, C) is None


def test_a_service_that_changes_too_fast_is_read_again() -> None:
    cache = holding(A, B, C)
    cache.expect("ccc", cursor(1))
    for revision in range(2, MAX_EXPECTED_EVENTS + 3):
        cache.apply(StatusChanged(at(revision), C.key, Status.WARNING), change=1, count=1)
    assert read(cache, C) is None


def test_events_before_the_reading_of_a_service_are_not_applied_again() -> None:
    cache = holding(A, B, C)
    cache.expect("ccc", cursor(1))
    assert read(cache, C, revision=3) is not None
    held_c = cache.catalog.get(C.key)
    assert cache.apply(StatusChanged(at(3), C.key, Status.CRITICAL), change=1, count=1) == set()
    assert cache.catalog.get(C.key) == held_c
    assert cache.apply(StatusChanged(at(4), C.key, Status.CRITICAL), change=2, count=1) == {"ccc"}


# -- over a long time


class Hour(msgspec.Struct):
    """One hour of events, as bytes, so that nothing of it is already in memory in the view's form."""

    steps: list[tuple[bytes, int, int, str, list[bytes], str]]
    digest: str


def day(pick: random.Random, *, every_s: int) -> Iterator[Hour]:
    """Yield 24 hours of a fleet of 1000 services: for each step an event, and the state of a queried service."""
    fleet: dict[str, dict[InstanceKey, bytes]] = {}
    everything = Catalog()
    revision = 0
    for _ in range(24):
        steps = []
        for _ in range(3600 // every_s):
            revision += 1
            event = churned(pick, fleet, at(revision))
            label, asked = event.key.label, f"service-{pick.randrange(1000):03}"
            before = everything.digest_number
            everything.apply(event)
            steps.append(
                (
                    msgspec.json.encode(event),
                    before ^ everything.digest_number,
                    everything.instance_count(label),
                    asked,
                    list(fleet.get(asked, {}).values()),
                    everything.digest_of(asked),
                )
            )
        yield Hour(steps, everything.digest)


def churned(pick: random.Random, fleet: dict[str, dict[InstanceKey, bytes]], position: Position) -> Event:
    number = pick.randrange(1000)
    instances = fleet.setdefault(f"service-{number:03}", {})
    if len(instances) >= 2 and pick.random() < 0.8:
        key = pick.choice(list(instances))
        del instances[key]
        return Deregistered(position, key)
    record = instance(
        f"service_{number:03}",
        f"10.{number // 250}.{number % 250}.{pick.randrange(1, 250)}",
        metadata={"team": "t" * pick.randrange(400)},
    )
    instances[record.key] = msgspec.json.encode(lived(record))
    return Registered(position, record, 1.0)


@pytest.mark.untraced
def test_a_day_of_churn_keeps_within_the_bounds() -> None:
    """24 h at an event every 30 s, in a fleet ten times as large as the room."""
    hours = list(day(random.Random(20), every_s=30))
    limit = MEGABYTE
    cache = ViewCache(ViewLimits(100, limit), frozenset(["service-000"]))
    events, records = msgspec.json.Decoder(Registered | Deregistered), msgspec.json.Decoder(Lived)
    allocated: list[tuple[int, int]] = []  # as allocated, and as measured
    revision = 0
    gc.collect()
    tracemalloc.start()
    try:
        for hour in hours:
            for line, did, count, label, instances, said in hour.steps:
                revision += 1
                cache.apply(events.decode(line), change=did, count=count)
                if label in cache.absent:
                    cache.expect(label, cursor(revision))
                    assert cache.take(label, [*map(records.decode, instances)], cursor(revision), said) is not None
                else:
                    cache.asked(label)
            cache.reached(cursor(revision))
            assert cache.adds_up(hour.digest)
            _key_of.cache_clear()  # the latest keys are kept for the whole process, and not by the view
            gc.collect()
            allocated.append((tracemalloc.get_traced_memory()[0], cache.lru.bytes))
    finally:
        tracemalloc.stop()
    assert cache.evictions > 1000
    assert len(cache.labels()) > 900
    assert len(set(cache.catalog.labels())) <= 100
    for really, measured in allocated:
        assert measured <= limit
        assert really <= limit
        assert really <= measured * 1.2 + 65_536, "nothing else is kept, however long it runs"


def test_nothing_remains_of_removed_services() -> None:
    cache = holding(A, B, C)
    snapshot(cache)
    assert (len(cache.lru), cache.lru.bytes, cache.labels()) == (0, 0, set())
    cache.merge([lived(A)], Rest())
    assert held(cache) == ["aaa"]


# -- events of an unknown kind


A2, A3 = instance("aaa", "10.0.0.1", weight=7), instance("aaa", "10.0.0.1", weight=8)


def test_the_digest_stays_right_when_a_service_is_read_ahead_of_the_view() -> None:
    cache = holding(A)
    assert cache.happened_unknown("aaa", change(A, A2), cursor(2))
    assert not cache.adds_up(digest(A2)), "the held service is old"
    cache.expect("aaa", cursor(2))
    assert cache.take("aaa", [lived(A3)], cursor(3), digest(A3)) == {"aaa"}
    assert cache.adds_up(digest(A2)), "the view's position"
    assert cache.apply(Registered(at(3), A3, 1.0), change=change(A2, A3), count=1) == set()
    assert cache.adds_up(digest(A3))
    assert cache.catalog.get(A.key) == A3


def test_a_known_event_after_an_unknown_one_is_applied_and_counted() -> None:
    cache = holding(A)
    cache.happened_unknown("aaa", change(A, A2), cursor(2))
    warned = msgspec.structs.replace(A2, status=Status.WARNING)
    cache.apply(StatusChanged(at(3), A.key, Status.WARNING), change=change(A2, warned), count=1)
    cache.expect("aaa", cursor(3))
    assert cache.take("aaa", [lived(warned)], cursor(3), digest(warned)) is not None
    assert cache.adds_up(digest(warned))


def test_an_unknown_event_before_a_reading_needs_no_second_one() -> None:
    cache = holding(A)
    cache.happened_unknown("aaa", change(A, A2), cursor(2))
    cache.expect("aaa", cursor(2))
    assert cache.take("aaa", [lived(A3)], cursor(3), digest(A3)) is not None
    assert not cache.happened_unknown("aaa", change(A2, A3), cursor(3))
    assert cache.adds_up(digest(A3))


def test_an_evicted_service_with_an_unknown_event_counts_as_unheld() -> None:
    cache = holding(A, B)
    cache.happened_unknown("aaa", change(A, A2), cursor(2))
    cache.asked("bbb")
    cache.apply(Registered(at(3), C, 1.0), change=instance_digest(C), count=1)
    assert cache.unknown <= set(held(cache))
    if not cache.unknown:
        assert cache.adds_up(digest(A2, B, C))


def test_unknown_changes_are_not_counted_to_the_rest() -> None:
    cache = holding(A, B, C)
    cache.apply(
        StatusChanged(at(2), C.key, Status.WARNING)
    )  # an event of an unheld service, from a registry that sends no digest change
    cache.happened_unknown("aaa", None, cursor(3))
    assert not cache.adds_up(digest(A, B, C))
    cache.expect("aaa", cursor(3))
    assert cache.take("aaa", [lived(A2)], cursor(3), digest(A2)) is not None
    assert cache.adds_up(digest(A2, B, C))
