"""What the contract needs of a store under test: the store, and a way to advance its time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

from registry_core.domain.catalog import Catalog
from registry_core.domain.events import Event, Position, Renewed
from registry_core.domain.leases import LeaseTerms
from registry_core.ports.store import Snapshot, Store
from registry_core.store.memory import MemoryStore
from registry_core.watch.cursor import Cursor
from tests.samples import FakeClock

TERMS = LeaseTerms()


class RecordingFeed:
    """A feed that records what it is given, and the catalogue that results."""

    def __init__(self) -> None:
        self.catalog = Catalog()
        self.events: list[Event] = []
        self.resets: list[Snapshot] = []
        self.moves: list[tuple[Cursor, tuple[Event, ...]]] = []

    def reset(self, snapshot: Snapshot) -> None:
        self.resets.append(snapshot)
        self.catalog.replace(snapshot.instances)

    def apply(self, events: Sequence[Event]) -> None:
        self.events.extend(events)
        for event in events:
            self.catalog.apply(event)

    def moved(self, cursor: Cursor, differences: Sequence[Event]) -> None:
        self.moves.append((cursor, tuple(differences)))
        for event in differences:
            self.catalog.apply(event)

    @property
    def changes(self) -> list[Event]:
        """The events that have their own revision."""
        return [e for e in self.events if not isinstance(e, Renewed)]

    @property
    def positions(self) -> list[Position]:
        return [e.position for e in self.changes]


class StoreUnderTest(Protocol):
    """A store in the state in which a replica would use it."""

    store: Store
    feed: RecordingFeed

    async def start(self) -> None:
        """Start the store with the feed."""
        ...

    async def close(self) -> None:
        """Close the store, and whatever was started for it."""
        ...

    async def pass_time(self, seconds: float, *, sweeping: bool = True) -> None:
        """Advance the store's clock, with a sweep each period, or without any sweep."""
        ...


class MemoryUnderTest:
    """The memory store on a clock that moves when told to."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.feed = RecordingFeed()
        self.store: Store = MemoryStore(self.clock, TERMS, "e1", random.Random(1))

    async def start(self) -> None:
        await self.store.start(self.feed)

    async def close(self) -> None:
        await self.store.close()

    async def pass_time(self, seconds: float, *, sweeping: bool = True) -> None:
        left = seconds
        while sweeping and left >= TERMS.sweep_every_s:
            self.clock.pass_time(TERMS.sweep_every_s)
            left -= TERMS.sweep_every_s
            await self.store.sweep()
        self.clock.pass_time(left)
