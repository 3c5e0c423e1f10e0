"""Rendezvous hashing, and the one catalogue that several shards add up to."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.events import Deregistered, Event, Expired, Position, Registered, StatusChanged
from registry_core.domain.records import Instance, InstanceKey, Status
from registry_core.domain.sharding import shard_of
from registry_core.store.redis.merge import Merge
from registry_core.store.redis.shard_records import ShardRecords
from tests.samples import instances, lived

NAMES = st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=1, max_size=6, unique=True)
LABELS = st.lists(st.from_regex(r"[a-z-]{3,12}", fullmatch=True), max_size=30, unique=True)


@given(LABELS, NAMES, st.from_regex(r"[A-Z]{1,8}", fullmatch=True))
def test_a_new_shard_takes_its_share_and_moves_nothing_else(labels: list[str], shards: list[str], new: str) -> None:
    for label in labels:
        before, after = shards[shard_of(label, shards)], [*shards, new][shard_of(label, [*shards, new])]
        assert after in (before, new)


@given(LABELS, NAMES, st.randoms(use_true_random=False))
def test_the_order_of_the_shards_does_not_matter(labels: list[str], shards: list[str], source: object) -> None:
    other = sorted(shards)
    for label in labels:
        assert shards[shard_of(label, shards)] == other[shard_of(label, other)]


def test_every_shard_gets_about_its_share() -> None:
    shards = ["a", "b", "c"]
    share = Counter(shard_of(f"service-{n}", shards) for n in range(3000))
    assert all(800 < share[number] < 1200 for number in range(3))


def own_shard(label: str) -> int:
    return shard_of(label, ["a", "b"])


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Return events of two shards, in which an instance may be in both."""
    revisions = [0, 0]
    events: list[Event] = []
    for _ in range(draw(st.integers(0, 25))):
        shard = draw(st.integers(0, 1))
        revisions[shard] += 1
        position = Position(shard, "e", revisions[shard])
        record = draw(instances())
        kind = draw(st.sampled_from([Registered, Registered, StatusChanged, Deregistered, Expired]))
        if kind is Registered:
            events.append(Registered(position, record, 1.0))
        elif kind is StatusChanged:
            events.append(StatusChanged(position, record.key, draw(st.sampled_from(list(Status)))))
        elif kind is Expired:
            events.append(Expired(position, record.key))
        else:
            events.append(Deregistered(position, record.key))
    return events


@given(histories(), st.booleans())
def test_the_events_add_up_to_the_valid_copies(history: list[Event], second_joins: bool) -> None:
    own = (lambda _: 0) if second_joins else own_shard
    merge, told = Merge(own, 2, frozenset({1}) if second_joins else frozenset()), Catalog()
    held: dict[InstanceKey, dict[int, Instance]] = {}
    for event in history:
        shown = merge.apply(event)
        assert shown.position == event.position
        told.apply(shown)
        copies = held.setdefault(event.key, {})
        match event:
            case Registered(instance=record):
                copies[event.position.shard] = record
            case StatusChanged():
                if event.position.shard in copies:
                    changed = Catalog()
                    changed.merge([lived(copies[event.position.shard])])
                    changed.apply(event)
                    copies[event.position.shard] = next(iter(changed))
            case _:
                copies.pop(event.position.shard, None)
        at_home = {key: 1 if second_joins and 1 in copies else own(key.label) for key, copies in held.items()}
        counts = {key: c.get(at_home[key], next(iter(c.values()), None)) for key, c in held.items() if c}
        assert {i.key: i for i in told} == counts
        assert all(merge.home(key.label, key.instance_id) == home for key, home in at_home.items())
        assert set(merge.outlived()) == {
            (key, shard) for key, c in held.items() for shard in c if at_home[key] in c and shard != at_home[key]
        }
    assert {entry.instance.key: entry.instance for entry in merge.instances()} == {i.key: i for i in told}
    for record in told:
        assert record.key in {entry.key for entry in merge.at_sockets([record.socket])}


@given(histories())
def test_a_heartbeat_without_an_id_follows_its_service(history: list[Event]) -> None:
    merge = Merge(lambda _: 0, 2, frozenset({1}))
    for event in history:
        merge.apply(event)
    labels = {event.key.label for event in history}
    moved = {lived.instance.key.label for lived in merge.instances() if 1 in merge.shards_of(lived.instance.key)}
    assert {label for label in labels if merge.home(label) == 1} == moved


@given(
    st.lists(instances(), max_size=8, unique_by=lambda i: i.key),
    st.lists(instances(), max_size=8, unique_by=lambda i: i.key),
)
def test_a_shard_that_is_read_again_replaces_only_its_own_copies(first: list[Instance], second: list[Instance]) -> None:
    merge = Merge(own_shard, 2)
    merge.replace(0, ShardRecords(Lived(i, 1.0) for i in first))
    merge.replace(1, ShardRecords(Lived(i, 1.0) for i in second))
    merge.replace(0, ShardRecords())
    assert {entry.instance.key for entry in merge.instances()} == {i.key for i in second}
    assert all(merge.shards_of(i.key) == [1] for i in second)
