"""Over any history, a view with little room answers for its held services like one that holds everything."""

from __future__ import annotations

import random
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.view.lru import ViewLimits
from agent.view.view import AgentView
from registry_core.api.hub import HubLimits, WatchHub
from registry_core.api.view import ReplicaView
from registry_core.api.watcher import Watcher
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.names import label_of
from registry_core.domain.records import InstanceKey, Status
from registry_core.errors import CallerError
from registry_core.ports.store import Beat
from registry_core.store.memory import MemoryStore
from registry_core.watch.changes import Replaced
from registry_core.watch.cursor import Cursor
from registry_core.watch.reader import WatchReader
from registry_core.watch.trust import Advice
from tests.samples import FakeClock, claim

SERVICES = [f"service_{n}" for n in range(10)]
OWN = "service-0"


class Follower:
    """One agent's view, at the end of a wire that delivers when told to."""

    def __init__(self, world: World, limits: ViewLimits) -> None:
        self.view = AgentView(world.clock, room=limits, own=frozenset([OWN]))
        self._hub = world.hub
        self._watcher: Watcher | None = None
        self._reader = WatchReader(Cursor(), stage=self.view.staging)
        self.wire: deque[bytes] = deque()
        self.changed: set[str] = set()
        self.view.subscribe(self.changed.update)
        self.advice: list[Advice] = []

    def connect(self, cursor: Cursor) -> None:
        self.cut()
        self._watcher = self._hub.open(cursor, renewals=True)
        self._reader = WatchReader(cursor, stage=self.view.staging)

    def cut(self) -> None:
        if self._watcher is not None:
            self._hub.leave(self._watcher)
        self.wire.clear()

    def receive(self, most_lines: int) -> None:
        assert self._watcher is not None
        while chunk := self._watcher.take():
            self.wire.extend(chunk.splitlines(keepends=True))
        for _ in range(min(most_lines, len(self.wire))):
            for change in self._reader.feed(self.wire.popleft()):
                self.advice.append(self.view.apply(change))


class World:
    """A registry that changes at random, an agent that holds everything, and one that holds a few services."""

    def __init__(self, seed: int, limits: ViewLimits) -> None:
        self.random = random.Random(seed)
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock, LeaseTerms(), f"e{seed}", random.Random(seed))
        self.registry = ReplicaView(self.clock, ttl_s=60, warming_s=0, store_age_s=self.store.age_s)
        self.hub = WatchHub(self.registry, HubLimits(history_events=40))
        self.whole, self.small = Follower(self, ViewLimits()), Follower(self, limits)
        self.loads: list[tuple[str, bytes]] = []  # read from the registry, and on their way

    async def change(self) -> None:
        pick = self.random
        service, port = pick.choice(SERVICES), pick.randrange(8000, 8006)
        key = InstanceKey(label_of(service), f"10.0.{service[-1]}.7:{port}")
        try:
            match pick.randrange(8):
                case 0 | 1 | 2:
                    await self.store.register(
                        claim(service, f"10.0.{service[-1]}.7", port=port, weight=pick.randrange(1, 9))
                    )
                case 3:
                    await self.store.set_status(key, pick.choice(list(Status)))
                case 4 | 5:
                    await self.store.deregister(key)
                case 6:
                    await self.store.renew([Beat(service)])
                    self.hub.tick()
                case _:
                    self.clock.pass_time(9)
                    await self.store.sweep()
        except CallerError:
            pass

    def ask(self) -> None:
        name = self.random.choice(SERVICES)
        self.small.view.find(name)
        label = label_of(name)
        if self.small.view.lacks(name) and all(label != other for other, _ in self.loads):
            self.small.view.expect(label)
            self.loads.append((label, b"".join(self.hub.snapshot(label, "start"))))

    def arrive(self) -> None:
        if self.loads:
            label, lines = self.loads.pop(self.random.randrange(len(self.loads)))
            (read,) = [c for c in WatchReader(Cursor()).feed(lines) if isinstance(c, Replaced)]
            self.small.view.take(label, read)

    async def step(self) -> None:
        match self.random.randrange(10):
            case 0 | 1 | 2:
                await self.change()
            case 3 | 4 | 5:
                lines = self.random.randrange(1, 5)
                self.whole.receive(lines)
                self.small.receive(lines)
            case 6 | 7:
                self.ask()
            case 8:
                self.arrive()
            case _:
                if self.random.randrange(4) == 0:
                    anew = self.random.random() < 0.5
                    for follower in (self.whole, self.small):
                        follower.connect(Cursor() if anew else follower.view.cursor)
                else:
                    self.small.view.tidy(0)

    def check(self) -> None:
        small, whole = self.small.view, self.whole.view
        assert small.cursor == whole.cursor
        ahead = small._cache._ahead.keys()
        for label in set(small.catalog.labels()) - ahead:
            assert small.catalog.find(label) == whole.catalog.find(label)
        assert set(small.labels()) - ahead == set(whole.labels()) - ahead
        assert not small.lacks(OWN)
        assert small.bytes == measured(small)

    async def settle(self) -> None:
        while self.loads:
            self.arrive()
        self.hub.tick()
        self.whole.receive(10_000)
        self.small.receive(10_000)


def measured(view: AgentView) -> int:
    """Return the bytes of a view that was given exactly the services that this one holds, and lacks the same."""
    fresh = AgentView(FakeClock(), room=ViewLimits(10_000, 1 << 40))
    staging = fresh.staging()
    staging.add(lived for label in tuple(view.catalog.labels()) for lived in view.catalog.lived(label))
    instances, rest = staging.taken()
    fresh._cache.replace(instances, rest)
    fresh._cache.lru.names = len(view._cache.absent)
    return fresh.bytes


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 60))
async def test_held_services_are_as_in_a_view_that_holds_everything(seed: int, services: int, kilobytes: int) -> None:
    world = World(seed, ViewLimits(services, kilobytes * 1024))
    await world.store.start(world.registry)
    for _ in range(world.random.randrange(30)):
        await world.change()
    for follower in (world.whole, world.small):
        follower.connect(Cursor())
    await world.settle()
    for _ in range(150):
        await world.step()
        world.check()
    await world.settle()
    world.check()
    small = world.small.view
    assert small._cache._ahead == {}
    assert small.complete
    assert small.trust.mismatches == 0, (
        "the digest of what is held, and of the rest, is the registry's at every sign of life"
    )
    assert Advice.RESYNC not in world.small.advice
    assert sorted(small.services.names()) == world.registry.catalog.names()
    held = [label for label in small.catalog.labels() if label != OWN]
    assert len(held) <= max(1, services)
    assert small.bytes <= kilobytes * 1024 or len(held) <= 1, "the most recently used one stays, whatever its size"
