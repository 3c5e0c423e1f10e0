"""A reader whose stream is cut at any byte, at any time, ends up with the right catalogue, and gets nothing twice."""

from __future__ import annotations

import asyncio
import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_core.api.hub import HubLimits, WatchHub
from registry_core.api.view import ReplicaView
from registry_core.api.watcher import Watcher
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.events import Deregistered, Expired, Registered, StatusChanged
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.names import label_of
from registry_core.domain.records import InstanceKey, Status
from registry_core.errors import CallerError
from registry_core.ports.store import Beat
from registry_core.store.memory import MemoryStore
from registry_core.watch.cursor import parse_cursor
from registry_core.watch.limits import FIRST_PROTOCOL
from registry_core.watch.lines import (
    DeregisteredLine,
    ExpiredLine,
    RegisteredLine,
    RenewedLine,
    SnapshotLine,
    StatusChangedLine,
    SyncLine,
    WatchLine,
)
from tests.samples import FakeClock, claim

DECODER = msgspec.json.Decoder(WatchLine)


class Reader:
    """Handles the lines as an agent must: resumes at its cursor, and checks each digest."""

    def __init__(self) -> None:
        self.catalog = Catalog()
        self.cursor = ""
        self.heard: list[int] = []  # the revisions of events since the last snapshot
        self.snapshots: list[str] = []
        self._parts: list[Lived] = []
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        *whole, self._buffer = (self._buffer + data).split(b"\n")
        for line in whole:
            self._take(line)

    def cut(self) -> None:
        """Lose the connection: half a line and half a snapshot are discarded."""
        self._buffer = b""
        self._parts = []

    def _take(self, raw: bytes) -> None:
        line = DECODER.decode(raw)
        match line:
            case SnapshotLine():
                if line.first:
                    self._parts = []
                self._parts.extend(line.instances)
                if line.last:
                    self.catalog.replace(self._parts)
                    self.cursor, self.heard = line.cursor, []
                    self.snapshots.append(line.reason)
                    assert self.catalog.digest == line.digest
            case SyncLine():
                assert line.cursor == self.cursor
                assert line.digest == self.catalog.digest, "the digest does not match"
            case RenewedLine():
                pass
            case _:
                self._event(line)

    def _event(self, line: RegisteredLine | StatusChangedLine | DeregisteredLine | ExpiredLine) -> None:
        before, after = parse_cursor(self.cursor).positions[0], parse_cursor(line.cursor).positions[0]
        assert after.revision == before.revision + 1, "lost or received twice"
        self.heard.append(after.revision)
        self.cursor = line.cursor
        match line:
            case RegisteredLine():
                self.catalog.apply(Registered(after, line.instance, line.heartbeat_at))
            case StatusChangedLine():
                self.catalog.apply(StatusChanged(after, key_of(line), line.status))
            case DeregisteredLine():
                self.catalog.apply(Deregistered(after, key_of(line)))
            case ExpiredLine():
                self.catalog.apply(Expired(after, key_of(line)))


def key_of(line: StatusChangedLine | DeregisteredLine | ExpiredLine) -> InstanceKey:
    return InstanceKey(label_of(line.service_name), line.instance_id)


class World:
    """A store with a hub, changed at random, and one reader with a bad connection."""

    def __init__(self, seed: int, limits: HubLimits) -> None:
        self.random = random.Random(seed)
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock, LeaseTerms(), f"e{seed}", random.Random(seed))
        self.view = ReplicaView(self.clock, ttl_s=60, warming_s=0, store_age_s=self.store.age_s)
        self.hub = WatchHub(self.view, limits)
        self.reader = Reader()
        self.watcher: Watcher | None = None
        self.wire = b""  # sent, and not yet arrived

    async def change(self) -> None:
        pick = self.random
        service, port = pick.choice(["ip_intel", "billing", "osint"]), pick.randrange(8000, 8012)
        key = InstanceKey(label_of(service), f"10.0.0.7:{port}")
        try:
            match pick.randrange(8):
                case 0 | 1 | 2 | 3:
                    await self.store.register(claim(service, port=port, weight=pick.randrange(1, 9)))
                case 4:
                    await self.store.set_status(key, pick.choice(list(Status)))
                case 5:
                    await self.store.deregister(key)
                case 6:
                    await self.store.renew([Beat(service)])
                    self.hub.tick()
                case _:
                    self.clock.pass_time(4)
                    await self.store.sweep()
        except CallerError:
            pass

    def connect(self) -> None:
        if self.watcher is None:
            self.watcher = self.hub.open(
                parse_cursor(self.reader.cursor), renewals=self.random.random() < 0.5, protocol=FIRST_PROTOCOL
            )

    def read(self) -> None:
        """Let some of the sent bytes arrive: rarely up to the end of a line."""
        self.connect()
        assert self.watcher is not None
        self.wire += self.watcher.take()
        arrived = self.random.randrange(len(self.wire) + 1)
        self.reader.feed(self.wire[:arrived])
        self.wire = self.wire[arrived:]

    def cut(self) -> None:
        if self.watcher is not None:
            self.hub.leave(self.watcher)
        self.watcher, self.wire = None, b""
        self.reader.cut()

    def read_all(self) -> None:
        self.connect()
        assert self.watcher is not None
        while data := self.watcher.take():
            self.wire += data
        self.reader.feed(self.wire)
        self.wire = b""


async def live(seed: int, steps: list[str], limits: HubLimits) -> World:
    world = World(seed, limits)
    await world.store.start(world.view)
    for step in steps:
        match step:
            case "change":
                await world.change()
            case "burst":
                for _ in range(12):
                    await world.change()
            case "read":
                world.read()
            case _:
                world.cut()
    world.read_all()
    world.hub.tick()
    world.read_all()
    return world


STEPS = st.lists(st.sampled_from(["change", "change", "burst", "read", "cut"]), max_size=60)


def instances(catalog: Catalog) -> set[str]:
    return {repr(instance) for instance in catalog}


@settings(max_examples=300)
@given(seed=st.integers(0, 2**32), steps=STEPS)
def test_over_any_cuts_a_reader_loses_nothing_and_gets_nothing_twice(seed: int, steps: list[str]) -> None:
    world = asyncio.run(live(seed, steps, HubLimits()))
    assert instances(world.reader.catalog) == instances(world.view.catalog)
    assert world.reader.catalog.digest == world.view.catalog.digest
    assert world.reader.cursor == str(world.view.cursor)
    # Within the kept history a reader with a cursor is resumed, and never gets a new snapshot.
    assert world.reader.snapshots == ["start"]


@settings(max_examples=300)
@given(seed=st.integers(0, 2**32), steps=STEPS, history=st.integers(1, 6), queue=st.integers(1, 6))
def test_with_hardly_any_room_a_reader_still_ends_up_right(
    seed: int, steps: list[str], history: int, queue: int
) -> None:
    world = asyncio.run(live(seed, steps, HubLimits(history_events=history, queue_lines=queue)))
    assert instances(world.reader.catalog) == instances(world.view.catalog)
    assert world.reader.cursor == str(world.view.cursor)
    assert set(world.reader.snapshots) <= {"start", "behind", "lagged"}
