"""The Redis store: services spread over shards, each a master with its replicas, as one `Store`.

It knows which shard holds what, and merges the shards' histories into one; everything else is left to
the shards. A shard that is down fails only its own writes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final

import msgspec

from registry_core.domain.admission import ANYBODY, Newcomer, address_taken, check_epoch, is_name
from registry_core.domain.catalog import Catalog
from registry_core.domain.events import Event, Position, Renewed
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.names import label_of
from registry_core.domain.records import Instance, InstanceKey, Registration, Status
from registry_core.domain.restoration import RestoreOutcome, outcome_of
from registry_core.domain.selection import Random
from registry_core.errors import NotFound, SettingsError, StoreUnavailable, Unavailable
from registry_core.ports.clock import Clock
from registry_core.ports.reports import GuardReport, ShardReport
from registry_core.ports.store import Beat, BeatResult, Feed, Grant, Snapshot, SweepReport
from registry_core.store.redis.denials import DenialsInRedis
from registry_core.store.redis.merge import Merge
from registry_core.store.redis.old_copies import OldCopies
from registry_core.store.redis.placement import Placing
from registry_core.store.redis.shard import Shard
from registry_core.store.redis.shard_records import ShardRecords
from registry_core.store.redis.slices import differences, parts, shed
from registry_core.store.redis.watcher import MasterWatcher
from registry_core.store.redis.writes import DEFAULT_TERMS, QueueTerms
from registry_core.supervision import Background, end
from registry_core.watch.cursor import Cursor

# How long the start waits for the shards; one that is down then is delivered once it is up.
START_S: Final = 5.0
# How long a sweep waits for a shard: about as long as until the next sweep.
SWEEP_S: Final = 1.0
# A larger difference is delivered as a full reset. A failover makes one of a few instances, if any.
MOST_DIFFERENCES: Final = 500


class RedisStore:
    """A `Store` over one shard for each of `masters`."""

    lets_once = True

    def __init__(
        self,
        masters: Sequence[MasterWatcher],
        *,
        prefix: str,
        replicas: int,
        joining: Collection[str] = (),
        terms: LeaseTerms,
        clock: Clock,
        random: Random,
        queue_terms: QueueTerms = DEFAULT_TERMS,
        observe: Callable[[str, float, float | None], None] = lambda _shard, _took_s, _confirmed_s: None,
        background: Background | None = None,
    ) -> None:
        """Shards in `joining` are followed, but this replica places no services there; other replicas already do.

        `observe` is called with a shard's name, the seconds that it took to answer a pipeline of writes, and those of
        the wait for its replicas, if it waited.
        """
        background = background if background is not None else Background(clock)
        self._names = tuple(m.name for m in masters)
        placing = Placing(self._names, joining)
        self._merge = Merge(placing, len(masters), placing.joining)
        self._cursor = Cursor()
        self._feed: Feed | None = None
        self._delivering = False
        self._empty_births: set[int] = set()
        self._unfolding = asyncio.Lock()  # shards are taken over one at a time
        self._owes_everything = False  # during a reset, and after one that was not delivered
        self._aside: Catalog | None = None  # the catalogue being built, not yet visible
        self._sweeps: dict[str, asyncio.Task[SweepReport]] = {}  # in progress, at most one for each shard
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
                observe=partial(observe, each.name),
                background=background,
            )
            for number, each in enumerate(masters)
        )

        self.denials = DenialsInRedis(self._shards, prefix, clock)
        self._clock = clock
        self._old_copies = OldCopies(self._shards, background)

    async def start(self, feed: Feed) -> None:
        """Start delivering what the shards hold, and then every event.

        Returns when every shard was read, or after a while without those that are down. Raises SettingsError when
        waiting for a shard cannot help.
        """
        self._feed = feed
        try:
            await asyncio.gather(*(shard.start() for shard in self._shards))
            # A shard without a master is down, and is delivered once it is up.
            found = [shard for shard in self._shards if shard.masters.address]
            await asyncio.gather(*(shard.follower.settled(START_S) for shard in found))
            self._refuse_faults()
            async with self._unfolding:
                await self._reset()
        except BaseException:
            await self.close()
            raise

    def _refuse_faults(self) -> None:
        fault = next((shard.follower.fault for shard in self._shards if shard.follower.fault), "")
        if fault:
            raise SettingsError(f"REGISTRY_STORE: {fault}")

    async def close(self) -> None:
        """Stop everything. Safe to call twice."""
        self._feed = None
        await end((*self._old_copies.under_way, *self._sweeps.values()))
        await asyncio.gather(*(shard.close() for shard in self._shards))

    def age_s(self) -> float:
        """Seconds since the shard that is furthest behind confirmed that everything was delivered."""
        return max(shard.follower.age_s() for shard in self._shards)

    def shards(self) -> tuple[ShardReport, ...]:
        """Return the state of each shard."""
        return tuple(shard.report() for shard in self._shards)

    # -- operations

    def unknown(self, label: str) -> str:
        """Return why a service with this label may exist undelivered, or "" when it does not."""
        if self._feed is None:
            return "the store has not been read yet"
        return self._shards[self._merge.home(label)].unknown(label)

    async def register(
        self, claim: Registration, *, sequence: int | None = None, newcomer: Newcomer = ANYBODY
    ) -> Grant:
        """Store `claim` and start its lease. Raises Conflict, Fenced, Late, Unavailable."""
        self._started()
        key, held = claim.key, self._merge.get(claim.key)
        shard, kept = self._home(key), held.instance.sockets if held is not None else ()
        wanted = [socket for socket in claim.sockets if socket not in kept]
        rivals = [rival.key for rival in self._merge.at_sockets(wanted) if rival.key != key]
        if not rivals:
            return await shard.register(claim, sequence=sequence, newcomer=newcomer)
        elsewhere = [rival for rival in rivals if self._home(rival) is not shard]
        if elsewhere:
            # Its own shard would refuse it, but only after others have made room.
            check_epoch(key, claim.epoch, held.instance if held is not None else None)
            moved = held is not None and is_name(claim.host)
            await self._make_room(claim, elsewhere, wanted, newcomer, moved=moved)
        here = [rival for rival in rivals if rival not in elsewhere]
        return await shard.register(claim, sequence=sequence, newcomer=newcomer, rivals=here)

    async def restore(self, saved: Instance) -> RestoreOutcome:
        """Bring back `saved`, with a lease that starts now. Raises Conflict, Unavailable."""
        self._started()
        own = self._merge.home(saved.key.label, saved.key.instance_id)
        held, shards = self._merge.get(saved.key), self._merge.shards_of(saved.key)
        if held is not None and own not in shards:
            # It is still only in its old shard: a copy in its home shard would take precedence over that one.
            outcome = outcome_of(saved, held.instance)
            if outcome is not RestoreOutcome.RESTORED:
                return outcome
        rivals = [rival for rival in self._merge.at_sockets(saved.sockets) if rival.key != saved.key]
        elsewhere = [rival for rival in rivals if self._home(rival.key) is not self._shards[own]]
        if elsewhere and (held is None or outcome_of(saved, held.instance) is RestoreOutcome.RESTORED):
            raise address_taken(saved, elsewhere[0])
        return await self._shards[own].restore(saved, [rival.key for rival in rivals if rival not in elsewhere])

    async def _make_room(
        self,
        claim: Registration,
        rivals: Sequence[InstanceKey],
        wanted: Sequence[str],
        newcomer: Newcomer,
        *,
        moved: bool,
    ) -> None:
        """Remove the instances that hold a wanted socket in other shards, when they must give way. Raises Conflict.

        Within a shard the script decides; here the holder's shard does, whatever this replica has seen of it.
        Nothing is atomic across shards: two newcomers to one address, at two replicas and within the time that an
        event takes, may both be let in.
        """
        for rival in rivals:
            may = newcomer.may_displace or rival.label == claim.key.label
            terms = msgspec.structs.replace(newcomer, may_displace=may)
            await self._home(rival).evict(rival, claim, wanted, terms, moved=moved)

    async def renew(self, beats: Sequence[Beat]) -> list[BeatResult]:
        """Renew many leases. Raises Unavailable when none of the shards concerned can take its part."""
        self._started()
        labels = [label_of(beat.service_name) for beat in beats]
        if len(self._shards) == 1:
            return await self._shards[0].renew(beats, labels)
        by_shard: dict[int, list[int]] = {}
        for at, (beat, label) in enumerate(zip(beats, labels, strict=True)):
            by_shard.setdefault(self._merge.home(label, beat.instance_id), []).append(at)
        parts = await asyncio.gather(
            *(
                self._shards[number].renew([beats[at] for at in places], [labels[at] for at in places])
                for number, places in by_shard.items()
            ),
            return_exceptions=True,
        )
        results: list[BeatResult | None] = [None] * len(beats)
        failed = [part for part in parts if isinstance(part, BaseException)]
        for error in failed:
            if len(failed) == len(parts) or not isinstance(error, Unavailable):
                raise error
        for places, part in zip(by_shard.values(), parts, strict=True):
            # A shard that is down does not affect the results of the others.
            found = [BeatResult("unavailable")] * len(places) if isinstance(part, BaseException) else part
            for at, result in zip(places, found, strict=True):
                results[at] = result
        return [result for result in results if result is not None]

    async def set_status(
        self, key: InstanceKey, status: Status, epoch: int | None = None, *, sequence: int | None = None
    ) -> Instance:
        """Change a status. Raises NotFound, Fenced, Late, Unavailable."""
        self._started()
        own = self._merge.home(key.label, key.instance_id)
        held = self._merge.shards_of(key)
        # It is only in its old shard until its agent registers it in the new one.
        shard = own if own in held or not held else held[0]
        return await self._shards[shard].set_status(key, status, epoch, sequence)

    async def deregister(self, key: InstanceKey, epoch: int | None = None, *, sequence: int | None = None) -> Instance:
        """Remove an instance. Raises NotFound, Fenced, Late, Unavailable."""
        self._started()
        own = self._merge.home(key.label, key.instance_id)
        held = self._merge.shards_of(key)
        # Every copy is removed, the authoritative one last: its removal is the answer.
        *others, counts = sorted(held, key=lambda number: number == own) or [own]
        for number in others:
            with contextlib.suppress(NotFound):
                await self._shards[number].deregister(key, epoch, sequence)
        return await self._shards[counts].deregister(key, epoch, sequence)

    async def sweep(self) -> SweepReport:
        """Sweep every shard, and report those that could not be swept in time."""
        self._started()
        self._old_copies.remove(self._merge.outlived(), self._clock.monotonic())
        for shard in self._shards:
            if shard.name not in self._sweeps:
                self._sweeps[shard.name] = asyncio.ensure_future(shard.sweeper.sweep(self._merge.sizes))
        # A slower sweep goes on, and is collected the next time: the other shards' leases expire meanwhile.
        ended, under_way = await asyncio.wait(self._sweeps.values(), timeout=SWEEP_S)
        late = [name for name, task in self._sweeps.items() if task in under_way]
        swept = [(name, task) for name, task in self._sweeps.items() if task in ended]
        self._sweeps = {name: task for name, task in self._sweeps.items() if task in under_way}
        unswept = [(name, f"its sweep takes longer than {SWEEP_S:.0f} s") for name in late]
        good: list[SweepReport] = []
        for name, task in swept:
            try:
                good.append(task.result())
            except Unavailable as error:
                unswept.append((name, error.message))
        return SweepReport(
            tuple(key for report in good for key in report.expired),
            max((report.amnesty_s for report in good), default=0.0),
            tuple(key for report in good for key in report.suspected),
            any(report.spared for report in good),
            tuple(unswept),
        )

    def guards(self) -> tuple[GuardReport, ...]:
        """Return the state of each shard's guard at its last sweep."""
        return tuple(shard.sweeper.guard for shard in self._shards)

    async def release_guard(self, shard: str | None = None) -> tuple[str, ...]:
        """Release the guards. Raises NotFound for an unknown shard, Unavailable."""
        self._started()
        meant = [each for each in self._shards if shard in (None, each.name)]
        if not meant:
            raise NotFound(f"there is no shard {shard!r}", field="shard", provided=shard, example=self._names[0])
        return tuple([each.name for each in meant if await each.sweeper.release_guard()])

    async def snapshot(self) -> Snapshot:
        """Return everything delivered, with the cursor from which events continue."""
        self._started()
        return self._snapshot()

    # -- what the followers deliver

    async def shard_read(
        self, shard: int, position: Position, records: ShardRecords, *, whole: bool, born_empty: bool
    ) -> None:
        """Take over everything that a shard holds: deliver the difference if it is small, else reset everything.

        It stays invisible until complete, and its preparation yields to the loop. A record that a shard which is not
        `whole` lacks may have been lost rather than removed, so readers have to judge by the full contents.
        """
        async with self._unfolding:
            began_anew = self._owes_everything or self._cursor.at(shard) is None or born_empty or not whole
            before = self._merge.records(shard)
            different = await differences(before, records)
            self._merge.replace(shard, records)
            self._cursor = self._cursor.moved_to(position)
            if born_empty:
                self._empty_births.add(shard)
            if not self._delivering or self._feed is None:
                return
            if began_anew or len(different) > MOST_DIFFERENCES:
                await self._reset()
            else:
                self._feed.moved(self._cursor, [self._merge.now(key, position) for key in different])
            await shed(before)

    def shard_events(self, events: list[Event]) -> None:
        """Apply and deliver the events of a shard."""
        told = [*map(self._merge.apply, events)]
        if self._aside is not None:
            for event in told:
                self._aside.apply(event)
        reached = next((event.position for event in reversed(events) if type(event) is not Renewed), None)
        if reached is not None:
            self._cursor = self._cursor.moved_to(reached)
        if self._delivering and self._feed is not None:
            self._feed.apply(told)

    def heard_at(self, shard: int, key: InstanceKey) -> float:
        """Return the last heartbeat of the copy in `shard`, in Unix seconds; 0 when it has none."""
        return self._merge.heard_at(shard, key)

    def missing(self, shard: int, records: ShardRecords) -> list[InstanceKey]:
        """Return the instances delivered from `shard` that are not in `records`."""
        return list(self._merge.records(shard).lived.keys() - records.lived.keys())

    def instance(self, shard: int, key: InstanceKey) -> Instance | None:
        """Return the copy in `shard` of an instance."""
        lived = self._merge.records(shard).lived.get(key)
        return None if lived is None else lived.instance

    def instances(self, shard: int) -> list[Instance]:
        """Return all copies that `shard` holds."""
        return [lived.instance for lived in self._merge.records(shard).lived.values()]

    def size(self, shard: int) -> int:
        """Return how many copies `shard` holds."""
        return len(self._merge.records(shard))

    async def _reset(self) -> None:
        """Build the full catalogue out of sight, and deliver it once complete."""
        self._owes_everything = True
        self._aside = aside = Catalog()
        try:
            for part in parts(list(self._merge.keys())):
                # As they are now, not as they were when this began. Later changes are events.
                aside.merge(lived for lived in map(self._merge.get, part) if lived is not None)
                await asyncio.sleep(0)
        finally:
            self._aside = None
        if self._feed is not None:
            self._feed.reset(self._snapshot(aside))
        # In the same turn of the loop: an event between the two would never be delivered.
        self._delivering = True
        self._empty_births.clear()
        self._owes_everything = False
        await shed(aside)  # the catalogue that the feed gave in exchange

    def _snapshot(self, catalog: Catalog | None = None) -> Snapshot:
        whole = len(self._cursor.positions) == len(self._shards)
        return Snapshot(
            self._cursor,
            tuple(self._merge.instances()) if catalog is None else catalog.all(),
            whole=whole,
            born_empty=bool(self._empty_births),
            built=catalog,
            recent=tuple(shard.follower.recent.shown() for shard in self._shards),
        )

    def _started(self) -> None:
        if self._feed is None:
            raise StoreUnavailable("the store is not running")

    def _home(self, key: InstanceKey) -> Shard:
        return self._shards[self._merge.home(key.label, key.instance_id)]
