"""The Redis store: services spread over shards, each a master with its replicas, as one `Store`.

It knows which shard holds what, and adds the shards' histories up to one; what a shard does is the
shard's matter. A shard that is away fails its own writes and nobody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Final

from registry_core.domain.catalog import Lived, Snapshot
from registry_core.domain.cursor import Cursor, cursor_of
from registry_core.domain.events import Event, Position, Registered, Renewed
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.names import host_port, label_of
from registry_core.domain.records import Instance, InstanceKey, Registration, Status
from registry_core.domain.registration import address_taken
from registry_core.domain.restoration import Outcome, outcome_of
from registry_core.domain.selection import Random
from registry_core.domain.sharding import shard_of
from registry_core.errors import NotFound, SettingsError, StoreUnavailable, Unavailable
from registry_core.ports import Beat, BeatResult, Clock, Feed, Grant, GuardReport, ShardReport, SweepReport
from registry_core.store.redis.ending import end
from registry_core.store.redis.masters import Masters
from registry_core.store.redis.merge import Merge
from registry_core.store.redis.queue import DEFAULT_TERMS, QueueTerms
from registry_core.store.redis.shard import AddressTaken, Shard

# How long the start waits for the shards; who is away then is delivered when it comes.
START_S: Final = 5.0
# Old copies that are taken out at a time, while a shard is added; the others have leases that run out.
MOST_REMOVALS: Final = 200


class RedisStore:
    """A `Store` over one shard for each of `masters`."""

    def __init__(
        self,
        masters: Sequence[Masters],
        *,
        prefix: str,
        replicas: int,
        terms: LeaseTerms,
        clock: Clock,
        random: Random,
        queue_terms: QueueTerms = DEFAULT_TERMS,
    ) -> None:
        self._names = tuple(m.name for m in masters)
        self._own: dict[str, int] = {}  # the shard of each label that was asked for
        self._merge = Merge(self._shard_number)
        self._cursor = Cursor()
        self._feed: Feed | None = None
        self._delivering = False
        self._empty_births: set[int] = set()
        self._removing: set[InstanceKey] = set()
        self._removals: set[asyncio.Task[None]] = set()
        self._terms = terms
        self._shards = tuple(
            Shard(
                number,
                each,
                prefix=prefix,
                replicas=replicas,
                terms=terms,
                feed=self,
                clock=clock,
                random=random,
                queue_terms=queue_terms,
            )
            for number, each in enumerate(masters)
        )

    async def start(self, feed: Feed) -> None:
        """Begin: deliver what the shards hold, and then every event.

        Returns when every shard was read, or without those that are away. Raises SettingsError when
        waiting for a shard cannot help.
        """
        self._feed = feed
        try:
            await asyncio.gather(*(shard.start() for shard in self._shards))
            await asyncio.gather(*(shard.follower.settled(START_S) for shard in self._shards))
            self._refuse_faults()
        except BaseException:
            await self.close()
            raise
        self._delivering = True
        self._reset()

    def _refuse_faults(self) -> None:
        fault = next((shard.follower.fault for shard in self._shards if shard.follower.fault), "")
        if fault:
            raise SettingsError(f"REGISTRY_STORE: {fault}")

    async def close(self) -> None:
        """Stop everything. Safe to call twice."""
        self._feed = None
        await end(tuple(self._removals))
        await asyncio.gather(*(shard.close() for shard in self._shards))

    def age_s(self) -> float:
        """Seconds since the shard that is furthest behind confirmed that everything was delivered."""
        return max(shard.follower.age_s() for shard in self._shards)

    def shards(self) -> tuple[ShardReport, ...]:
        """Return how each shard stands."""
        return tuple(shard.report() for shard in self._shards)

    # -- operations

    async def register(self, claim: Registration) -> Grant:
        """Store `claim` and start its lease. Raises Conflict, Fenced, Unavailable."""
        self._started()
        shard = self._shard(claim.key.label)
        await self._make_room(claim, shard)
        try:
            stored = await shard.register(claim)
        except AddressTaken as taken:
            raise address_taken(claim.host, claim.port, taken.holder) from None
        return Grant(stored.instance, stored.created, self._terms.ttl_s)

    async def restore(self, saved: Instance) -> Outcome:
        """Bring back `saved`, with a lease that starts now. Raises Conflict, Unavailable."""
        self._started()
        own = self._shard_number(saved.key.label)
        held, shards = self._merge.get(saved.key), self._merge.shards_of(saved.key)
        if held is not None and own not in shards:
            # Still in its old shard alone: a copy in its own would count before that one.
            outcome = outcome_of(saved, held.instance)
            if outcome is not Outcome.RESTORED:
                return outcome
        elsewhere = [
            lived.instance
            for lived in self._merge.at_address(saved.address)
            if lived.instance.key != saved.key and self._shard_number(lived.instance.key.label) != own
        ]
        if elsewhere and (held is None or outcome_of(saved, held.instance) is Outcome.RESTORED):
            raise address_taken(saved.host, saved.port, elsewhere[0].key)
        try:
            return await self._shards[own].restore(saved)
        except AddressTaken as taken:
            raise address_taken(saved.host, saved.port, taken.holder) from None

    async def _make_room(self, claim: Registration, shard: Shard) -> None:
        """Take out who holds the address in another shard, when it has to make room.

        Within a shard the script decides. Across shards nothing is atomic: two newcomers to one address,
        at two replicas within the time that an event takes, may both be let in.
        """
        if len(self._shards) == 1:
            return
        address = host_port(claim.host, claim.port)
        for lived in self._merge.at_address(address):
            other = lived.instance
            if other.key == claim.key or self._shard(other.key.label) is shard:
                continue
            age_s = (await self._now_s(other.key)) - lived.heartbeat_at
            if other.status is not Status.CRITICAL and not other.suspect and age_s <= self._terms.ttl_s:
                raise address_taken(claim.host, claim.port, other.key)
            await self.deregister(other.key)

    async def _now_s(self, key: InstanceKey) -> float:
        client = await self._shard(key.label).masters.current()
        seconds, microseconds = await client.time()
        return float(seconds) + float(microseconds) / 1e6

    async def renew(self, beats: Sequence[Beat]) -> list[BeatResult]:
        """Renew many leases. Raises Unavailable when any shard that is meant cannot take its part."""
        self._started()
        by_shard: dict[int, list[int]] = {}
        labels = [label_of(beat.service_name) for beat in beats]
        for at, label in enumerate(labels):
            by_shard.setdefault(self._shard_number(label), []).append(at)
        parts = await asyncio.gather(
            *(
                self._shards[number].renew([beats[at] for at in places], [labels[at] for at in places])
                for number, places in by_shard.items()
            ),
            return_exceptions=True,
        )
        results: list[BeatResult | None] = [None] * len(beats)
        for places, part in zip(by_shard.values(), parts, strict=True):
            if isinstance(part, BaseException):
                raise part
            for at, result in zip(places, part, strict=True):
                results[at] = result
        return [result for result in results if result is not None]

    async def set_status(self, key: InstanceKey, status: Status, epoch: int | None = None) -> Instance:
        """Change a status. Raises NotFound, Fenced, Unavailable."""
        self._started()
        own = self._shard_number(key.label)
        held = self._merge.shards_of(key)
        # Only in its old shard, as long as its agent has not registered it in the new one.
        shard = own if own in held or not held else held[0]
        return await self._shards[shard].set_status(key, status, epoch)

    async def deregister(self, key: InstanceKey, epoch: int | None = None) -> Instance:
        """Take an instance out. Raises NotFound, Fenced, Unavailable."""
        self._started()
        own = self._shard_number(key.label)
        held = self._merge.shards_of(key)
        # Every copy goes, the one that counts last: its removal is the answer.
        *others, counts = sorted(held, key=lambda number: number == own) or [own]
        for number in others:
            with contextlib.suppress(NotFound):
                await self._shards[number].deregister(key, epoch)
        return await self._shards[counts].deregister(key, epoch)

    async def sweep(self) -> SweepReport:
        """Sweep every shard. Raises Unavailable when any could not be swept, after the others were."""
        self._started()

        def sizes() -> Counter[str]:
            return Counter(lived.instance.key.label for lived in self._merge.instances())

        reports = await asyncio.gather(*(shard.sweep(sizes) for shard in self._shards), return_exceptions=True)
        for report in reports:
            if isinstance(report, BaseException):
                raise report
        good = [report for report in reports if isinstance(report, SweepReport)]
        return SweepReport(
            tuple(key for report in good for key in report.expired),
            max(report.amnesty_s for report in good),
            tuple(key for report in good for key in report.suspected),
        )

    def guards(self) -> tuple[GuardReport, ...]:
        """Return how the guard of each shard stood at its last sweep."""
        return tuple(shard.guard() for shard in self._shards)

    async def release_guard(self, shard: str | None = None) -> tuple[str, ...]:
        """Have the guards let go. Raises NotFound for an unknown shard, Unavailable."""
        self._started()
        meant = [each for each in self._shards if shard in (None, each.name)]
        if not meant:
            raise NotFound(f"there is no shard {shard!r}", field="shard", provided=shard, example=self._names[0])
        return tuple([each.name for each in meant if await each.release_guard()])

    async def snapshot(self) -> Snapshot:
        """Return everything that was delivered, with the cursor from which events go on."""
        self._started()
        return self._snapshot()

    # -- what the followers deliver

    def shard_reset(self, shard: int, position: Position, instances: list[Lived], *, born_empty: bool) -> None:
        """Take everything that a shard holds, and deliver everything anew."""
        self._merge.replace(shard, instances)
        self._cursor = self._cursor.moved_to(position)
        if born_empty:
            self._empty_births.add(shard)
        if self._delivering:
            self._reset()

    def shard_events(self, events: list[Event]) -> None:
        """Take what happened in a shard, and deliver it."""
        told: list[Event] = []
        for event in events:
            told.append(self._merge.apply(event))
            if isinstance(event, Registered):
                self._remove_old_copies(event.key, event.position.shard)
            if not isinstance(event, Renewed):
                self._cursor = self._cursor.moved_to(event.position)
        if self._delivering and self._feed is not None:
            self._feed.apply(told)

    def _remove_old_copies(self, key: InstanceKey, shard: int) -> None:
        """Take out the copies of an instance that is now in its own shard: a shard was added."""
        if shard != self._shard_number(key.label):
            return
        for number in self._merge.shards_of(key):
            if number != shard and key not in self._removing and len(self._removing) < MOST_REMOVALS:
                self._removing.add(key)
                task = asyncio.ensure_future(self._remove_copy(key, number))
                self._removals.add(task)
                task.add_done_callback(self._removals.discard)

    async def _remove_copy(self, key: InstanceKey, number: int) -> None:
        try:
            await self._shards[number].deregister(key, None)
        except (NotFound, Unavailable):
            pass  # it is gone, or its lease there will run out
        finally:
            self._removing.discard(key)

    def _reset(self) -> None:
        if self._feed is not None:
            self._feed.reset(self._snapshot())
        self._empty_births.clear()

    def _snapshot(self) -> Snapshot:
        whole = len(self._cursor.positions) == len(self._shards)
        cursor = cursor_of(self._cursor.positions)
        return Snapshot(cursor, tuple(self._merge.instances()), whole=whole, born_empty=bool(self._empty_births))

    def _started(self) -> None:
        if self._feed is None:
            raise StoreUnavailable("the store is not running")

    def _shard(self, label: str) -> Shard:
        return self._shards[self._shard_number(label)]

    def _shard_number(self, label: str) -> int:
        number = self._own.get(label)
        if number is None:
            if len(self._own) > 100_000:  # names are chosen by callers
                self._own.clear()
            number = self._own[label] = shard_of(label, self._names)
        return number
