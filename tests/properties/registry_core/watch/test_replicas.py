"""A reader follows replicas that learn of events in different orders, in either version of the protocol.

Several shards have one history each. Each replica has read a part of each, and the reader moves between the replicas,
over connections that are cut at any byte. At any time it shows a shard as that was at the reader's own position.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.view.view import AgentView
from registry_core.api.hub import HubLimits, WatchHub
from registry_core.api.view import ReplicaView
from registry_core.api.watcher import Watcher
from registry_core.domain.catalog import Catalog
from registry_core.domain.events import Deregistered, Event, Expired, Position, Registered, StatusChanged
from registry_core.domain.records import Instance, Status
from registry_core.ports.store import Snapshot
from registry_core.watch.changes import Happened, Replaced
from registry_core.watch.cursor import Cursor, cursor_of
from registry_core.watch.limits import FIRST_PROTOCOL, PROTOCOL
from registry_core.watch.reader import BrokenStream, WatchReader
from registry_core.watch.trust import Advice
from tests.samples import FakeClock, instance


class Shard:
    """The history of one shard, and its state after each event."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.events: list[Event] = []
        self.states: list[frozenset[str]] = [frozenset()]
        self._catalog = Catalog()

    def name(self, pick: int) -> str:
        return f"service-{pick}-of-{self.number}"

    def happens(self, pick: random.Random) -> None:
        record = instance(
            self.name(pick.randrange(3)),
            f"10.{self.number}.0.{pick.randrange(1, 4)}",
            weight=pick.randrange(1, 5),
            status=pick.choice(list(Status)),
        )
        position = Position(self.number, f"e{self.number}", len(self.events) + 1)
        event = pick.choice(self._possible(position, record, pick))
        self._catalog.apply(event)
        self.events.append(event)
        self.states.append(frozenset(map(repr, self._catalog)))

    def _possible(self, position: Position, record: Instance, pick: random.Random) -> list[Event]:
        there = list(self._catalog)
        events: list[Event] = [Registered(position, record, 1.0)] * 3
        if there:
            key = pick.choice(there).key
            events += [StatusChanged(position, key, pick.choice(list(Status))), Deregistered(position, key)]
            events += [Expired(position, key)]
        return events


class Replica:
    """A replica that has reached some position in each shard."""

    def __init__(self, shards: list[Shard], history_events: int) -> None:
        self._shards = shards
        self.view = ReplicaView(FakeClock(), ttl_s=60.0, warming_s=0.0, store_age_s=lambda: 0.0)
        self.hub = WatchHub(self.view, HubLimits(history_events=history_events))
        begin = cursor_of([Position(shard.number, f"e{shard.number}", 0) for shard in shards])
        self.view.reset(Snapshot(begin, ()))

    def learn(self, shard: Shard, most: int) -> None:
        at = self.view.cursor.at(shard.number)
        assert at is not None
        self.view.apply(shard.events[at.revision : at.revision + most])

    def learn_all(self) -> None:
        for shard in self._shards:
            self.learn(shard, len(shard.events))


class Followable(Protocol):
    """What can be read from."""

    hub: WatchHub


class Reader:
    """An agent's view, which has one connection at a time."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.view = AgentView(self.clock)
        self.events: list[Position] = []
        self.snapshots: list[str] = []
        self.broken: list[str] = []
        self._anew = self._spoken = False
        self._replica: Followable | None = None
        self._watcher: Watcher | None = None
        self._reader = WatchReader(Cursor())
        self._wire = b""

    def connect(self, replica: Followable, protocol: int) -> None:
        self.cut()
        cursor = Cursor() if self._anew else self.view.cursor
        self._replica = replica
        self._watcher = replica.hub.open(cursor, protocol=protocol, renewals=True)
        self._reader = WatchReader(cursor, stage=self.view.staging)

    def cut(self) -> None:
        if self._replica is not None and self._watcher is not None:
            self._replica.hub.leave(self._watcher)
        self._watcher, self._wire, self._spoken = None, b"", False

    def receive(self, arrives: Callable[[int], int]) -> None:
        """Let this many of the available bytes arrive."""
        if self._watcher is None:
            return
        while sent := self._watcher.take():
            self._wire += sent
        size = arrives(len(self._wire))
        data, self._wire = self._wire[:size], self._wire[size:]
        try:
            for change in self._reader.feed(data):
                self._spoken = True
                if isinstance(change, Happened):
                    self.events.append(change.event.position)
                elif isinstance(change, Replaced):
                    self.snapshots.append(change.reason)
                    self._anew = False
                if self.view.apply(change) is Advice.RESYNC:
                    self._anew = True
                    self.cut()
                    return
        except BrokenStream as error:
            self.broken.append(str(error))
            # As the agent does: a stream that cannot be continued is read again.
            self._anew = self._anew or not self._spoken
            self.cut()


def check(reader: Reader, shards: list[Shard]) -> None:
    """A shard is shown as it was at the reader's position in it."""
    for shard in shards:
        at = reader.view.cursor.at(shard.number)
        shown = frozenset(repr(i) for i in reader.view.catalog if i.service_name.endswith(f"-of-{shard.number}"))
        assert shown == (shard.states[at.revision] if at is not None else frozenset())


def live(
    seed: int, replicas: int, shards: int, protocols: list[int], *, history_events: int = 10_000, steps: int = 120
) -> tuple[Reader, list[Shard]]:
    pick = random.Random(seed)
    histories = [Shard(number) for number in range(shards)]
    places = [Replica(histories, history_events) for _ in range(replicas)]
    reader = Reader()
    for _ in range(steps):
        match pick.randrange(8):
            case 0 | 1 | 2:
                pick.choice(histories).happens(pick)
            case 3 | 4:
                pick.choice(places).learn(pick.choice(histories), pick.randrange(4))
            case 5:
                pick.choice(places).hub.tick()
            case 6:
                reader.receive(lambda size: pick.randrange(size + 1))
                check(reader, histories)
            case _:
                if pick.random() < 0.5:
                    reader.connect(pick.choice(places), pick.choice(protocols))
                else:
                    reader.receive(lambda size: size)
                check(reader, histories)
    for place in places:
        place.learn_all()
    for _ in range(3):  # what is left to read again is read after a while
        reader.clock.pass_time(100.0)
        last = pick.choice(places)
        reader.connect(last, pick.choice(protocols))
        reader.receive(lambda size: size)
        last.hub.tick()
        reader.receive(lambda size: size)
    check(reader, histories)
    assert reader.view.cursor == last.view.cursor
    assert reader.view.catalog.digest == last.view.catalog.digest
    assert reader.view.complete
    return reader, histories


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 3))
def test_a_reader_resumes_at_any_replica_and_gets_everything_once(seed: int, replicas: int, shards: int) -> None:
    reader, histories = live(seed, replicas, shards, [PROTOCOL])
    assert reader.broken == []
    assert reader.snapshots == ["start"], "all others were resumed"
    for shard in histories:
        revisions = [position.revision for position in reader.events if position.shard == shard.number]
        assert revisions == list(range(len(shard.events) - len(revisions) + 1, len(shard.events) + 1))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 3))
def test_replicas_of_two_versions_are_followed_in_turn(seed: int, replicas: int, shards: int) -> None:
    live(seed, replicas, shards, [FIRST_PROTOCOL, PROTOCOL])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 3), st.integers(1, 8))
def test_with_hardly_any_history_a_reader_still_ends_up_right(
    seed: int, replicas: int, shards: int, history_events: int
) -> None:
    live(seed, replicas, shards, [FIRST_PROTOCOL, PROTOCOL, PROTOCOL], history_events=history_events)
