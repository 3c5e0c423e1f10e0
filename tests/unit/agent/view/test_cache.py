"""What a view with little room holds, what it reads when it is asked, and what it does not take."""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Iterator

import msgspec
import pytest

from agent.view.cache import MAX_EXPECTED_EVENTS, Holdings
from agent.view.footprint import SERVICE_BYTES, instance_bytes
from agent.view.lru import MEGABYTE, Room, ViewLimits
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.events import Deregistered, Event, Position, Registered, StatusChanged
from registry_core.domain.records import Instance, InstanceKey, Protocol, Status
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


def holding(*instances: Instance, services: int = 2, size: int = 50 * MEGABYTE, own: str = "") -> Holdings:
    holdings = Holdings(ViewLimits(services, size), frozenset([own] if own else ()))
    snapshot(holdings, *instances)
    return holdings


def snapshot(holdings: Holdings, *instances: Instance) -> set[str]:
    staging = holdings.staging()
    staging.add(map(lived, instances))
    changed = holdings.replace(*staging.taken())
    assert holdings.adds_up(digest(*instances))
    return changed


def held(holdings: Holdings) -> list[str]:
    return holdings.catalog.names()


def read(holdings: Holdings, record: Instance, revision: int = 1) -> set[str] | None:
    return holdings.take(record.key.label, [lived(record)], cursor(revision), digest(record))


# -- who has a place


def test_a_fleet_that_fits_is_held_whole() -> None:
    holdings = holding(A, B)
    assert held(holdings) == ["aaa", "bbb"]
    assert holdings.absent == {}


def test_of_a_larger_fleet_all_names_are_known() -> None:
    holdings = holding(A, B, C, D)
    assert held(holdings) == ["aaa", "bbb"]
    assert holdings.names() == ["aaa", "bbb", "ccc", "ddd"]


def test_an_own_service_has_a_place_whenever_it_comes() -> None:
    holdings = holding(A, B, C, D, own="ddd")
    assert held(holdings) == ["aaa", "ddd"]
    for name in ("bbb", "ccc"):
        holdings.expect(name, cursor(1))
    read(holdings, B)
    read(holdings, C)
    assert held(holdings) == ["ccc", "ddd"]


def test_what_was_asked_for_longest_ago_gives_way_and_what_nobody_asked_for_before_it() -> None:
    holdings = holding(A, B, C, services=3)
    holdings.asked("ccc")
    holdings.asked("aaa")
    snapshot(holdings, A, B, C, D)
    assert "bbb" in held(holdings), "there was no room for who came, and nobody asks for it"
    for expected in (["aaa", "ccc", "ddd"], ["aaa", "bbb", "ddd"]):
        missing = holdings.absent.keys() & {"bbb", "ddd"}
        label = missing.pop()
        holdings.expect(label, cursor(1))
        assert read(holdings, {"bbb": B, "ddd": D}[label]) is not None
        assert held(holdings) == expected
    assert holdings.evictions == 2


def test_an_event_is_no_question() -> None:
    holdings = holding(A, B)
    holdings.asked("aaa")
    holdings.asked("bbb")
    holdings.apply(StatusChanged(at(2), A.key, Status.WARNING))
    holdings.apply(Registered(at(3), C, 1.0))
    holdings.expect("ccc", cursor(3))
    read(holdings, C, 3)
    assert held(holdings) == ["bbb", "ccc"]


def test_a_new_snapshot_keeps_what_is_asked_for() -> None:
    holdings = holding(A, B, C, D)
    holdings.expect("ddd", cursor(1))
    assert read(holdings, D) == {"ddd", "bbb"}
    snapshot(holdings, A, B, C, D)
    assert held(holdings) == ["aaa", "ddd"]


def test_a_service_that_grows_has_others_give_way_but_stays_when_it_was_asked_for() -> None:
    size = 3 * (SERVICE_BYTES + instance_bytes(A))
    holdings = holding(A, B, services=10, size=size)
    holdings.asked("bbb")
    gone = set()
    for port in range(1, 9):
        gone |= holdings.apply(Registered(at(port), instance("bbb", "10.0.0.2", port), 1.0))
    assert gone == {"aaa", "bbb"}
    assert held(holdings) == ["bbb"]
    assert len(holdings.catalog) == 9
    assert holdings.room.bytes > size, "what was asked for last is answered, whatever its size"


def test_a_service_that_nobody_asks_for_is_not_held_when_it_is_too_large() -> None:
    holdings = holding(*(instance("bbb", "10.0.0.2", port) for port in range(1, 9)), size=3 * instance_bytes(A))
    assert held(holdings) == []


def test_a_fleet_that_has_become_smaller_is_wanted_back() -> None:
    holdings = holding(A, B, C, D)
    assert holdings.wanted_back(10) == []
    for revision, record in ((2, A), (3, B)):
        holdings.apply(Deregistered(at(revision), record.key), digest="1", count=0)
    assert holdings.wanted_back(10) == ["ccc", "ddd"]
    assert holdings.wanted_back(1) == ["ccc"]


def test_the_room_counts_what_it_gives_out() -> None:
    room = Room(ViewLimits(2, 100))
    for label in ("a", "b", "c"):
        room.put(label, 10)
        room.asked(label)
    room.put("a", 25)
    assert (len(room), room.bytes, room.size_of("a")) == (3, 45, 25)
    assert room.give_up() == "a", "it was asked for longest ago, whenever its size changed"
    assert room.give_up() is None
    assert room.bytes == 20


def test_others_can_become_own_and_own_ones_like_anybody() -> None:
    room = Room(ViewLimits(2, 100), frozenset({"a"}))
    for label in ("a", "b", "c"):
        room.put(label, 10)
    room.use_own(frozenset({"b", "d"}))
    assert (len(room), room.bytes) == (3, 30)
    assert room.give_up() in {"a", "c"}
    room.put("d", 10)
    assert room.give_up() in {"a", "c"}
    assert room.give_up() is None
    assert sorted(room.labels()) == ["b", "d"]


# -- events of what is not held


def test_names_come_and_go_with_the_services_that_are_not_held() -> None:
    holdings = holding(A, B, C)
    two = instance("ccc", "10.0.0.3", 9000, protocol=Protocol.UDP)
    assert holdings.apply(Registered(at(2), two, 1.0), digest="1", count=2) == {"ccc"}
    assert holdings.absent["ccc"].transports == {Protocol.TCP, Protocol.UDP}
    assert holdings.apply(Deregistered(at(3), C.key), digest="2", count=1) == set()
    assert holdings.apply(Registered(at(4), D, 1.0), digest="3", count=1) == {"ddd"}
    assert holdings.names() == ["aaa", "bbb", "ccc", "ddd"]
    assert holdings.apply(Deregistered(at(5), two.key), digest="4", count=0) == {"ccc"}
    assert holdings.names() == ["aaa", "bbb", "ddd"]


def test_a_lost_change_of_what_is_held_shows_in_the_digest_and_one_of_the_rest_does_not_hide_it() -> None:
    holdings = holding(A, B, C)
    c_critical = instance("ccc", "10.0.0.3", status=Status.CRITICAL)
    changed = StatusChanged(at(2), C.key, Status.CRITICAL)
    holdings.apply(changed, digest=digest(A, B, c_critical), count=1)
    assert holdings.adds_up(digest(A, B, c_critical))
    other_b = instance("bbb", "10.0.0.2", weight=9)
    assert not holdings.adds_up(digest(A, other_b, c_critical))
    holdings.apply(StatusChanged(at(3), C.key, Status.PASSING), digest=digest(A, other_b, C), count=1)
    assert not holdings.adds_up(digest(A, other_b, C))


def test_a_registry_that_says_nothing_of_its_digest_is_believed_about_the_rest() -> None:
    holdings = holding(A, B, C)
    holdings.apply(Deregistered(at(2), C.key))
    assert holdings.names() == ["aaa", "bbb", "ccc"], "whether it has other instances cannot be told"
    assert holdings.adds_up(digest(A, B))
    holdings.expect("ccc", cursor(2))
    assert holdings.take("ccc", [], cursor(2), digest()) == {"ccc"}
    assert holdings.names() == ["aaa", "bbb"]
    assert holdings.adds_up(digest(A, B))


def test_another_history_changes_what_is_held_and_what_is_known_of_the_rest() -> None:
    holdings = holding(A, B, C)
    other_b = instance("bbb", "10.0.0.2", weight=9)
    c_udp = instance("ccc", "10.0.0.4", protocol=Protocol.UDP)
    d = instance("ddd", "10.0.0.5")
    holdings.expect("ccc", cursor(1))
    assert holdings.move(map(lived, (other_b, c_udp, d))) == {"bbb", "ccc", "ddd"}
    assert held(holdings) == ["aaa", "bbb"], "a part of a service is not held"
    assert holdings.names() == ["aaa", "bbb", "ccc", "ddd"]
    assert holdings.absent["ccc"].transports == {Protocol.TCP, Protocol.UDP}
    assert holdings.catalog.get(B.key) == other_b
    assert holdings.adds_up(digest(A, other_b, C, c_udp, d)), "what is not held is believed"
    assert holdings.move(map(lived, (c_udp,))) == set()
    assert read(holdings, C) is None, "what is being read is of the history before"


def test_another_history_of_what_is_held_is_checked_exactly() -> None:
    holdings = holding(A, B)
    other_b = instance("bbb", "10.0.0.2", weight=9)
    assert holdings.move([lived(other_b)]) == {"bbb"}
    assert not holdings.adds_up(digest(A, B))
    assert holdings.adds_up(digest(A, other_b))


def test_who_was_taken_out_in_another_history_is_gone_whether_held_or_not() -> None:
    second_a, second_c = (instance(name, "10.0.0.9", port=8035) for name in ("aaa", "ccc"))
    holdings = holding(A, second_a, B, C, second_c)
    size = holdings.room.size_of("aaa")
    assert holdings.move([], [(second_a.key, 1), (B.key, 0), (second_c.key, 1)]) == {"aaa", "bbb"}
    assert held(holdings) == ["aaa"]
    assert holdings.names() == ["aaa", "ccc"], "one of ccc is left"
    assert (holdings.room.size_of("aaa") or 0) == (size or 0) - instance_bytes(second_a)
    assert holdings.adds_up(digest(A, C))
    assert holdings.move([], [(C.key, 0), (D.key, 0)]) == {"ccc"}, "of ddd nothing was known"
    assert holdings.names() == ["aaa"]
    assert holdings.adds_up(digest(A))


# -- what is read apart


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
def test_what_cannot_be_trusted_is_not_taken(instances: list[Instance], at_cursor: Cursor, said: str) -> None:
    holdings = holding(A, B, C)
    holdings.expect("ccc", cursor(5))
    assert holdings.take("ccc", [*map(lived, instances)], at_cursor, said) is None
    assert held(holdings) == ["aaa", "bbb"]
    assert holdings.adds_up(digest(A, B, C))


def test_what_was_read_before_a_snapshot_is_not_taken_after_it() -> None:
    holdings = holding(A, B, C)
    holdings.expect("ccc", cursor(1))
    snapshot(holdings, A, B, C)
    assert read(holdings, C) is None


def test_what_changes_too_fast_is_read_again() -> None:
    holdings = holding(A, B, C)
    holdings.expect("ccc", cursor(1))
    for revision in range(2, MAX_EXPECTED_EVENTS + 3):
        holdings.apply(StatusChanged(at(revision), C.key, Status.WARNING), digest="1", count=1)
    assert read(holdings, C) is None


def test_events_up_to_where_a_service_was_read_are_not_applied_again() -> None:
    holdings = holding(A, B, C)
    holdings.expect("ccc", cursor(1))
    assert read(holdings, C, revision=3) is not None
    held_c = holdings.catalog.get(C.key)
    assert holdings.apply(StatusChanged(at(3), C.key, Status.CRITICAL), digest="1", count=1) == set()
    assert holdings.catalog.get(C.key) == held_c
    assert holdings.apply(StatusChanged(at(4), C.key, Status.CRITICAL), digest="2", count=1) == {"ccc"}


# -- for long


class Hour(msgspec.Struct):
    """What happens in an hour: as bytes, so that nothing of it is already in memory as the view keeps it."""

    steps: list[tuple[bytes, str, int, str, list[bytes], str]]
    digest: str


def day(pick: random.Random, *, every_s: int) -> Iterator[Hour]:
    """Yield 24 hours of a fleet of 1000 services: of each step an event, and how a service that is asked for is."""
    fleet: dict[str, dict[InstanceKey, bytes]] = {}
    everything = Catalog()
    revision = 0
    for _ in range(24):
        steps = []
        for _ in range(3600 // every_s):
            revision += 1
            event = churned(pick, fleet, at(revision))
            label, asked = event.key.label, f"service-{pick.randrange(1000):03}"
            everything.apply(event)
            steps.append(
                (
                    msgspec.json.encode(event),
                    everything.digest,
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


def test_a_day_of_churn_keeps_within_the_bounds() -> None:
    """24 h at an event every 10 s, in a fleet ten times as large as the room."""
    hours = list(day(random.Random(20), every_s=10))
    limit = MEGABYTE
    holdings = Holdings(ViewLimits(100, limit), frozenset(["service-000"]))
    events, records = msgspec.json.Decoder(Registered | Deregistered), msgspec.json.Decoder(Lived)
    allocated: list[tuple[int, int]] = []  # really, and as measured
    revision = 0
    gc.collect()
    tracemalloc.start()
    try:
        for hour in hours:
            for line, told, count, label, instances, said in hour.steps:
                revision += 1
                holdings.apply(events.decode(line), digest=told, count=count)
                if label in holdings.absent:
                    holdings.expect(label, cursor(revision))
                    assert holdings.take(label, [*map(records.decode, instances)], cursor(revision), said) is not None
                else:
                    holdings.asked(label)
            holdings.reached(cursor(revision))
            assert holdings.adds_up(hour.digest)
            gc.collect()
            allocated.append((tracemalloc.get_traced_memory()[0], holdings.room.bytes))
    finally:
        tracemalloc.stop()
    assert holdings.evictions > 1000
    assert len(holdings.labels()) > 900
    assert len(set(holdings.catalog.labels())) <= 100
    for really, measured in allocated:
        assert measured <= limit
        assert really <= limit
        assert really <= measured * 1.2 + 65_536, "nothing else is kept, however long it runs"


def test_nothing_is_left_of_what_has_gone() -> None:
    holdings = holding(A, B, C)
    snapshot(holdings)
    assert (len(holdings.room), holdings.room.bytes, holdings.labels()) == (0, 0, set())
    holdings.merge([lived(A)], Rest())
    assert held(holdings) == ["aaa"]
