"""However the stream is cut, and wherever the connection breaks: nothing is lost, and nothing twice.

The other end is the registry's own hub, with a history of random changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from agent.view.view import AgentView
from registry_core.api.hub import HubLimits, WatchHub
from registry_core.api.view import ReplicaView
from registry_core.domain.catalog import Lived
from registry_core.domain.events import Deregistered, Event, Expired, Position, Registered, Renewed, StatusChanged
from registry_core.domain.records import Instance, InstanceKey, Status
from registry_core.ports.store import Snapshot
from registry_core.watch.changes import Happened, Replaced, WatchChange
from registry_core.watch.cursor import Cursor, cursor_of
from registry_core.watch.reader import BrokenStream, WatchReader
from registry_core.watch.trust import SETTLE_S, Advice
from tests.samples import FakeClock, instance

SERVICES = ("osint_service", "ip-intel", "geo")
INSTANCES = [(name, f"10.0.0.{n}:8034") for n in range(3) for name in SERVICES]

ChangeMade: TypeAlias = tuple[str, tuple[str, str], Status, int]
Connection: TypeAlias = tuple[list[ChangeMade], int, list[int]]

CHANGES: st.SearchStrategy[ChangeMade] = st.tuples(
    st.sampled_from(["register", "status", "deregister", "expire", "renew"]),
    st.sampled_from(INSTANCES),
    st.sampled_from(list(Status)),
    st.integers(1, 100),
)
# The events during one connection, how much of the stream arrives, and in which pieces.
CONNECTIONS: st.SearchStrategy[list[Connection]] = st.lists(
    st.tuples(st.lists(CHANGES, max_size=6), st.integers(0, 5000), st.lists(st.integers(1, 700), max_size=8)),
    max_size=8,
)


MOVES: st.SearchStrategy[list[Connection]] = st.lists(
    st.tuples(
        st.lists(CHANGES | CHANGES.map(lambda change: ("move", *change[1:])), max_size=6),
        st.integers(0, 5000),
        st.lists(st.integers(1, 700), max_size=8),
    ),
    max_size=8,
)

EVERYTHING = 10**9


class Registry:
    """A replica's view and hub, and the history that is written into them."""

    def __init__(self, limits: HubLimits | None = None) -> None:
        self.view = ReplicaView(FakeClock(), ttl_s=60.0, warming_s=0.0, store_age_s=lambda: 0.0)
        self.hub = WatchHub(self.view, limits)
        self.history: list[Event] = []
        self.epochs = 0
        self.restart()

    def restart(self) -> None:
        """Start a new history with the present records."""
        self.epochs += 1
        self.position = Position(0, f"e{self.epochs}", 0)
        cursor = cursor_of([self.position])
        self.view.reset(Snapshot(cursor, self.view.catalog.all()))

    def move(self, *differences: Event) -> None:
        """Continue in a new history, with these differences."""
        self.epochs += 1
        self.position = Position(0, f"e{self.epochs}", self.position.revision)
        self.view.moved(cursor_of([self.position]), differences)

    def change(self, kind: str, who: tuple[str, str], status: Status, weight: int) -> None:
        name, instance_id = who
        key = InstanceKey(name.replace("_", "-"), instance_id)
        if kind == "move":
            self.move(*([Registered(self.position, record_of(who, status, weight), 2.0)] if weight % 2 else []))
            return
        if kind == "renew":
            self.view.apply([Renewed(self.position, key, 3.0)])
            return
        position = Position(0, self.position.epoch, self.position.revision + 1)
        event: Event
        if kind == "register":
            event = Registered(position, record_of(who, status, weight), 2.0)
        elif self.view.catalog.get(key) is None:
            return
        elif kind == "status":
            event = StatusChanged(position, key, status)
        elif kind == "deregister":
            event = Deregistered(position, key)
        else:
            event = Expired(position, key)
        self.position = position
        self.view.apply([event])
        self.history.append(event)


def record_of(who: tuple[str, str], status: Status, weight: int) -> Instance:
    name, instance_id = who
    host, port = instance_id.split(":")
    return Instance(
        service_name=name,
        instance_id=instance_id,
        host=host,
        port=int(port) + SERVICES.index(name),
        addresses=(host,),
        metadata={"name": '\u00fc\n"{}'},
        weight=weight,
        status=status,
    )


def pieces(stream: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Cut `stream` into pieces of `sizes`, and the rest."""
    for size in sizes:
        yield stream[:size]
        stream = stream[size:]
    yield stream


class Agent:
    """A view, and all changes that it was given."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.view = AgentView(self.clock)
        self.taken: list[WatchChange] = []
        self.resync = False  # read everything again the next time

    def connect(self, registry: Registry, changes: list[ChangeMade]) -> Iterator[bytes]:
        """Open a stream, let events happen, and yield the registry's output."""
        watcher = registry.hub.open(self._cursor(), renewals=True)
        yield watcher.take()
        for change in changes:
            registry.change(*change)
        registry.hub.tick()
        while sent := watcher.take():
            yield sent
        registry.hub.leave(watcher)

    def read(self, stream: bytes, sizes: list[int]) -> None:
        reader = WatchReader(self._cursor())
        for piece in pieces(stream, sizes):
            for change in reader.feed(piece):
                self.taken.append(change)
                if self.view.apply(change) is Advice.RESYNC:
                    self.resync = True
                    return
                if isinstance(change, Replaced):
                    self.resync = False

    def _cursor(self) -> Cursor:
        return Cursor() if self.resync else self.view.cursor


def live(registry: Registry, agent: Agent, connections: list[Connection]) -> None:
    """Let the agent read what arrives of each connection."""
    for changes, arrived, sizes in connections:
        agent.read(b"".join(agent.connect(registry, changes))[:arrived], sizes)


@given(CONNECTIONS)
def test_a_stream_cut_anywhere_is_resumed_without_loss_and_without_duplicates(
    connections: list[Connection],
) -> None:
    registry, agent = Registry(), Agent()
    live(registry, agent, [*connections, ([], EVERYTHING, [])])
    assert agent.view.catalog.digest == registry.view.catalog.digest
    assert sorted(agent.view.catalog, key=lambda i: i.key.instance_id + i.key.label) == sorted(
        registry.view.catalog, key=lambda i: i.key.instance_id + i.key.label
    )
    snapshots = [change for change in agent.taken if isinstance(change, Replaced)]
    assert [snapshot.reason for snapshot in snapshots] == ["start"]
    applied = [change.event for change in agent.taken if isinstance(change, Happened)]
    begin = snapshots[0].cursor.positions[0].revision
    assert applied == registry.history[begin:], "each event exactly once, in order"
    assert agent.view.complete


@given(MOVES)
def test_a_history_that_continues_elsewhere_is_followed(connections: list[Connection]) -> None:
    registry, agent = Registry(), Agent()
    agent.read(b"".join(agent.connect(registry, [])), [])
    live(registry, agent, [*connections, ([], EVERYTHING, [])])
    assert agent.view.cursor == registry.view.cursor
    agent.clock.pass_time(SETTLE_S)
    live(registry, agent, [([], EVERYTHING, []), ([], EVERYTHING, [])])
    assert agent.view.catalog.digest == registry.view.catalog.digest
    assert agent.view.complete


@given(CONNECTIONS, st.sets(st.integers(0, 7), max_size=3))
def test_with_a_short_history_and_restarts_the_view_still_becomes_the_catalogue(
    connections: list[Connection], restarts: set[int]
) -> None:
    registry, agent = Registry(HubLimits(history_events=3, queue_lines=4)), Agent()
    for number, connection in enumerate(connections):
        live(registry, agent, [connection])
        if number in restarts:
            registry.restart()
    live(registry, agent, [([], EVERYTHING, [])])
    # Records kept across a restart are dropped once the registry has had the time to hear of them.
    agent.clock.pass_time(SETTLE_S)
    live(registry, agent, [([], EVERYTHING, []), ([], EVERYTHING, [])])
    assert agent.view.cursor == registry.view.cursor
    assert agent.view.catalog.digest == registry.view.catalog.digest


@given(st.lists(CHANGES, max_size=12), st.lists(st.integers(1, 400), max_size=30))
def test_the_position_of_cuts_does_not_matter(changes: list[ChangeMade], sizes: list[int]) -> None:
    stream = b"".join(Agent().connect(Registry(), changes))
    whole, cut = Agent(), Agent()
    whole.read(stream, [])
    cut.read(stream, sizes)
    assert cut.taken == whole.taken


@given(st.binary(max_size=200), st.lists(st.integers(1, 50), max_size=5))
def test_any_bytes_are_changes_or_a_broken_stream(stream: bytes, sizes: list[int]) -> None:
    try:
        for piece in pieces(stream, sizes):
            for change in WatchReader(Cursor()).feed(piece):
                assert change is not None
    except BrokenStream:
        pass


@given(st.integers(0, 600))
def test_a_snapshot_applies_only_once_its_last_part_arrived(count: int) -> None:
    registry = Registry()
    cursor = cursor_of([registry.position])
    lived = tuple(Lived(instance(port=1024 + n), 1.0) for n in range(count))
    registry.view.reset(Snapshot(cursor, lived))
    watcher = registry.hub.open(Cursor())
    lines = b"".join(iter(watcher.take, b"")).splitlines(keepends=True)
    reader, agent = WatchReader(Cursor()), Agent()
    for line in lines[:-1]:
        assert len(agent.view.catalog) == 0, "nothing is shown before the last part"
        for change in reader.feed(line):
            agent.view.apply(change)
    assert len(agent.view.catalog) == count
