"""Followers and replicas are one to a reader: it moves between them, and gets everything once.

Each follower reads one of the replicas, or another follower, over connections that are cut at any byte.
"""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from registry_core.api.hub import HubLimits, WatchHub
from registry_core.api.watcher import Watcher
from registry_core.domain.catalog import Catalog
from registry_core.follow.view import FollowerView, Then
from registry_core.watch.changes import Replaced
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import FIRST_PROTOCOL, PROTOCOL
from registry_core.watch.reader import BrokenStream, WatchReader
from tests.properties.registry_core.watch.test_replicas import Followable, Reader, Replica, Shard, check
from tests.samples import FakeClock


class Following:
    """A follower, which has one connection at a time."""

    def __init__(self, history_events: int) -> None:
        self.clock = FakeClock()
        self.view = FollowerView(self.clock, ttl_s=60.0)
        self.hub = WatchHub(self.view, HubLimits(history_events=history_events))
        self.snapshots: list[str] = []
        self.broken: list[str] = []
        self._anew = False
        self._from: Followable | None = None
        self._watcher: Watcher | None = None
        self._reader = WatchReader(Cursor())
        self._wire = b""

    def connect(self, upstream: Followable, protocol: int) -> None:
        self.cut()
        cursor = Cursor() if self._anew else self.view.cursor
        self._from, self._watcher = upstream, upstream.hub.open(cursor, protocol=protocol, renewals=True)
        self._reader = WatchReader(cursor, stage=self.view.stage)

    def cut(self) -> None:
        if self._from is not None and self._watcher is not None:
            self._from.hub.leave(self._watcher)
        self._watcher, self._wire = None, b""
        self.view.lost()

    def receive(self, size_of: random.Random | None = None) -> None:
        """Let all, or part, of the available bytes arrive."""
        if self._watcher is None:
            return
        while sent := self._watcher.take():
            self._wire += sent
        size = len(self._wire) if size_of is None else size_of.randrange(len(self._wire) + 1)
        data, self._wire = self._wire[:size], self._wire[size:]
        try:
            for change in self._reader.feed(data):
                then = self.view.take(change)
                if isinstance(change, Replaced):
                    self.snapshots.append(change.reason)
                    self._anew = False
                if then is Then.TELL:
                    self.hub.tick()
                elif then is Then.READ_ALL:
                    self._anew = True
                    self.cut()
                    return
        except BrokenStream as error:
            self.broken.append(str(error))
            self.cut()


class House:
    """Replicas, a chain of followers, and a reader that may be at any of them."""

    def __init__(self, seed: int, replicas: int, followers: int, shards: int, history_events: int) -> None:
        self.pick = random.Random(seed)
        self.shards = [Shard(number) for number in range(shards)]
        self.replicas = [Replica(self.shards, history_events) for _ in range(replicas)]
        self.followers = [Following(history_events) for _ in range(followers)]
        self.reader = Reader()

    def above(self, number: int) -> Followable:
        """Return what a follower may follow: a replica, or a follower before it that has read something."""
        above: list[Followable] = [*self.replicas, *(one for one in self.followers[:number] if one.view.loaded)]
        return self.pick.choice(above)

    def live(self, protocols: list[int], steps: int = 120) -> None:
        pick, reader = self.pick, self.reader
        for _ in range(steps):
            match pick.randrange(9):
                case 0 | 1 | 2:
                    pick.choice(self.shards).happens(pick)
                case 3 | 4:
                    pick.choice(self.replicas).learn(pick.choice(self.shards), pick.randrange(4))
                case 5:
                    pick.choice(self.replicas).hub.tick()
                case 6 | 7:
                    number = pick.randrange(len(self.followers))
                    if pick.random() < 0.3:
                        self.followers[number].connect(self.above(number), pick.choice(protocols))
                    self.followers[number].receive(pick)
                    self.is_right(self.followers[number])
                case _:
                    if pick.random() < 0.5:
                        reader.connect(self.above(len(self.followers)), pick.choice(protocols))
                    reader.receive(lambda size: pick.randrange(size + 1))
                    check(reader, self.shards)
        self.settle(protocols)

    def settle(self, protocols: list[int]) -> None:
        """Have everybody learn everything, the reader from the last follower."""
        for replica in self.replicas:
            replica.learn_all()
        for _ in range(3):  # what is left to read again is read after a while
            for number, follower in enumerate(self.followers):
                follower.clock.pass_time(100.0)
                follower.connect(self.above(number), self.pick.choice(protocols))
                follower.receive()
                follower.hub.tick()
            for replica in self.replicas:
                replica.hub.tick()
            for follower in self.followers:
                follower.receive()
        last = self.followers[-1]
        for _ in range(3):
            self.reader.clock.pass_time(100.0)
            self.reader.connect(last, self.pick.choice(protocols))
            self.reader.receive(lambda size: size)
            last.hub.tick()
            self.reader.receive(lambda size: size)
        check(self.reader, self.shards)
        for view in (last.view, self.reader.view):
            assert view.cursor == self.replicas[0].view.cursor
            assert view.catalog.digest == self.replicas[0].view.catalog.digest
        assert self.reader.view.complete

    def is_right(self, follower: Following) -> None:
        """A follower shows each shard as that was at its own position in it."""
        for shard in self.shards:
            at = follower.view.cursor.at(shard.number)
            assert shown(follower.view.catalog, shard) == (shard.states[at.revision] if at else frozenset())


def shown(catalog: Catalog, shard: Shard) -> frozenset[str]:
    return frozenset(repr(one) for one in catalog if one.service_name.endswith(f"-of-{shard.number}"))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3))
def test_a_reader_moves_between_replicas_and_followers_and_reads_everything_once(
    seed: int, replicas: int, followers: int, shards: int
) -> None:
    house = House(seed, replicas, followers, shards, history_events=10_000)
    house.live([PROTOCOL])
    assert house.reader.broken == []
    assert [one.broken for one in house.followers] == [[]] * followers
    # A follower that began later than a reader has no events from before its own beginning.
    assert set(house.reader.snapshots) <= {"start", "behind"}
    assert all(one.snapshots[:1] == ["start"] for one in house.followers)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 8))
def test_whatever_the_versions_and_however_short_the_history_everybody_ends_up_right(
    seed: int, replicas: int, followers: int, shards: int, history_events: int
) -> None:
    house = House(seed, replicas, followers, shards, history_events)
    house.live([FIRST_PROTOCOL, PROTOCOL])
