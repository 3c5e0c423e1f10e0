"""What the watch counts: each change once, each snapshot by its reason, and how late a sample of changes is written."""

from __future__ import annotations

import random

from registry_core.api.hub import HubLimits, WatchHub
from registry_core.api.view import ReplicaView
from registry_core.api.watch_counts import BEHIND_S, FOLLOWED_EVERY_S, WatchCounts
from registry_core.api.watcher import Watcher
from registry_core.domain.leases import LeaseTerms
from registry_core.store.memory import MemoryStore
from registry_core.watch.cursor import Cursor
from tests.samples import FakeClock, claim


class Followed:
    """A hub whose counts share a clock with its store."""

    def __init__(self, limits: HubLimits | None = None) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore(self.clock, LeaseTerms(), "e1", random.Random(1))
        view = ReplicaView(self.clock, ttl_s=60, warming_s=0, store_age_s=self.store.age_s)
        self.counts = WatchCounts(now=self.clock.monotonic)
        self.hub = WatchHub(view, limits, self.counts)
        self.view = view
        self.port = 8000

    async def opened(self) -> Watcher:
        """Return a reader that has read its opening."""
        await self.store.start(self.view)
        watcher = self.hub.open(Cursor())
        self.read(watcher)
        return watcher

    async def change(self) -> None:
        self.port += 1
        await self.store.register(claim(port=self.port))

    def read(self, watcher: Watcher) -> None:
        """Write everything that waits for a reader to its connection."""
        while part := watcher.take():
            self.hub.sent(watcher, len(part))


async def test_a_change_is_followed_until_it_is_written() -> None:
    followed = Followed()
    watcher = await followed.opened()
    followed.clock.pass_time(FOLLOWED_EVERY_S)
    await followed.change()
    followed.clock.pass_time(0.25)
    assert followed.counts.lag.count == 0
    followed.read(watcher)
    assert (followed.counts.lag.count, followed.counts.lag.sum) == (1, 0.25)
    followed.read(watcher)
    assert followed.counts.lag.count == 1


async def test_one_change_a_second_is_followed_and_each_is_counted() -> None:
    followed = Followed()
    watcher = await followed.opened()
    for _ in range(40):
        await followed.change()
        followed.read(watcher)
        followed.clock.pass_time(FOLLOWED_EVERY_S / 4)
    assert (followed.counts.events, followed.counts.lag.count) == (40, 10)


async def test_a_reader_is_behind_until_it_has_the_change_or_a_snapshot_with_it() -> None:
    followed = Followed(HubLimits(queue_lines=3))
    watcher = await followed.opened()
    followed.clock.pass_time(FOLLOWED_EVERY_S)
    await followed.change()
    followed.clock.pass_time(BEHIND_S)
    assert followed.hub.behind() == 0
    followed.clock.pass_time(0.1)
    assert followed.hub.behind() == 1
    for _ in range(5):  # more than its queue holds
        await followed.change()
    assert followed.counts.snapshots == {"start": 1}
    followed.read(watcher)
    assert followed.counts.snapshots == {"start": 1, "lagged": 1}
    assert followed.hub.behind() == 0
    assert followed.counts.lag.sum >= BEHIND_S
    assert followed.counts.octets > 1000


async def test_readers_of_one_service_are_not_followed_for_the_changes_of_others() -> None:
    followed = Followed()
    await followed.opened()
    other = followed.hub.open(Cursor(), label="billing")
    followed.read(other)
    followed.clock.pass_time(FOLLOWED_EVERY_S)
    await followed.change()
    assert other.followed_at is None
    followed.clock.pass_time(10)
    assert followed.hub.behind() == 1
