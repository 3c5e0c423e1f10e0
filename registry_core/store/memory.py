"""The embedded store: registrations in this process's memory, for one replica.

Every operation runs within one turn of the event loop, so it is atomic. Nothing is written to
disk: after a restart the store is empty, under a new epoch, and agents register again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from registry_core.domain.admission import ANYBODY, Newcomer, admitted
from registry_core.domain.catalog import Catalog
from registry_core.domain.events import Deregistered, Event, Expired, Position, Registered, Renewed, StatusChanged
from registry_core.domain.guard import GuardPhase
from registry_core.domain.leases import Leases, LeaseTerms
from registry_core.domain.names import label_of
from registry_core.domain.order import LastWrite, Ruling, Tombstones, check_order, taken
from registry_core.domain.records import Instance, InstanceKey, Registration, Status
from registry_core.domain.restoration import RestoreOutcome, restored
from registry_core.domain.selection import Random
from registry_core.errors import NotFound, StoreUnavailable
from registry_core.ports.clock import Clock
from registry_core.ports.reports import GuardReport, ShardReport
from registry_core.ports.store import Beat, BeatResult, Feed, Grant, Snapshot, SweepReport
from registry_core.security.denials_in_memory import DenialsInMemory
from registry_core.telemetry.spans import span
from registry_core.watch.cursor import cursor_of

_SHARD = 0
SHARD_NAME: Final = "memory"


class MemoryStore:
    """A `Store` of one shard. `epoch` names this run and must never have been used before."""

    lets_once = False

    def __init__(self, clock: Clock, terms: LeaseTerms, epoch: str, random: Random) -> None:
        self.denials = DenialsInMemory(clock)
        self._clock = clock
        self._catalog = Catalog()
        self._leases = Leases(terms, clock.monotonic(), random)
        self._position = Position(_SHARD, epoch, 0)
        self._feed: Feed | None = None
        # The last accepted sequence of each registered instance, within the epoch of its record.
        self._sequences: dict[InstanceKey, int] = {}
        self._tombstones = Tombstones()

    async def start(self, feed: Feed) -> None:
        """Deliver a snapshot to `feed`, and every event from then on."""
        self._feed = feed
        feed.reset(self._snapshot())

    async def close(self) -> None:
        """Stop delivering; later operations raise StoreUnavailable."""
        self._feed = None

    def age_s(self) -> float:
        """Return 0: every event is delivered before its operation returns."""
        return 0.0

    def shards(self) -> tuple[ShardReport, ...]:
        """Return nothing: no connection can break, and no server can be away."""
        return ()

    def unknown(self, label: str) -> str:  # noqa: ARG002 - the same for every label
        """Return "": everything has been delivered."""
        return ""

    async def register(
        self, claim: Registration, *, sequence: int | None = None, newcomer: Newcomer = ANYBODY
    ) -> Grant:
        """Store `claim` and start its lease. Raises Conflict, Fenced or Late."""
        feed = self._started()
        now, wall, own = self._clock.monotonic(), self._clock.wall(), claim.key
        last, held = self._last(own), self._catalog.get(own)
        terms, remaining_s = self._leases.terms, partial(self._leases.remaining_s, now=now)
        gone_in_s = remaining_s(own) + terms.removed_after_s - terms.ttl_s if held is not None else None
        ruling = check_order(own, last, claim.epoch, sequence, owner=held, retry_after_s=gone_in_s)
        if ruling is Ruling.REPEATED and held is not None:
            return Grant(held, created=False, ttl_s=terms.ttl_s)
        admission = admitted(claim, self._catalog, remaining_s, wall, terms=terms, newcomer=newcomer)
        instance = admission.instance
        events: list[Event] = []
        for key in admission.evicted:
            self._forget(key)
            events.append(Deregistered(self._next(), key))
        self._leases.grant(own, now)
        self._note(own, taken(last, instance.epoch, sequence))
        if admission.changed:
            events.append(Registered(self._next(), instance, wall))
        else:
            events.append(Renewed(self._position, own, wall))
        self._deliver(feed, events)
        return Grant(instance, admission.created, terms.ttl_s)

    async def restore(self, saved: Instance) -> RestoreOutcome:
        """Restore `saved` if it is missing, and start its lease. Raises Conflict."""
        feed = self._started()
        outcome = restored(saved, self._catalog)
        if outcome is RestoreOutcome.RESTORED:
            self._leases.grant(saved.key, self._clock.monotonic())
            self._note(saved.key, taken(self._last(saved.key), saved.epoch, None))
            self._deliver(feed, [Registered(self._next(), saved, self._clock.wall())])
        return outcome

    async def renew(self, beats: Sequence[Beat]) -> list[BeatResult]:
        """Renew a lease for each beat; return one result for each, in order."""
        feed = self._started()
        now, wall = self._clock.monotonic(), self._clock.wall()
        events: list[Event] = []
        results: list[BeatResult] = []
        for beat in beats:
            held = self._meant(beat)
            if held is None:
                results.append(BeatResult("unknown"))
                continue
            key = held.key
            if beat.epoch is not None and beat.epoch < held.epoch:
                results.append(BeatResult("fenced", key))
                continue
            self._leases.renew(key, now)
            if held.suspect:
                events.append(Registered(self._next(), msgspec.structs.replace(held, suspect=False), wall))
            else:
                events.append(Renewed(self._position, key, wall))
            results.append(BeatResult("renewed", key))
        self._deliver(feed, events)
        return results

    async def set_status(
        self, key: InstanceKey, status: Status, epoch: int | None = None, *, sequence: int | None = None
    ) -> Instance:
        """Change a status and return the record. Raises NotFound, Fenced or Late."""
        feed = self._started()
        last = self._last(key)
        repeated = check_order(key, last, epoch, sequence, owner=self._catalog.get(key)) is Ruling.REPEATED
        held = self._held(key)
        if repeated:
            return held
        if epoch in (None, held.epoch):  # a newer owner that has not registered has no record to order by
            self._note(key, taken(last, epoch, sequence))
        if held.status is not status:
            self._deliver(feed, [StatusChanged(self._next(), key, status)])
        return self._held(key)

    async def deregister(self, key: InstanceKey, epoch: int | None = None, *, sequence: int | None = None) -> Instance:
        """Remove an instance and return its last record. Raises NotFound, Fenced or Late."""
        feed = self._started()
        now, last, held = self._clock.monotonic(), self._last(key), self._catalog.get(key)
        if check_order(key, last, epoch, sequence, removal=True, owner=held) is Ruling.REPEATED:
            stone = self._tombstones.get(key, now)
            if stone is not None and stone.instance is not None:
                return stone.instance
        if held is not None or sequence is not None:
            # Even when nothing is registered: a registration sent before this may still be in flight.
            self._forget(key)
            self._tombstones.put(key, taken(last, epoch, sequence, removal=True), held, now)
        gone = self._held(key)
        self._deliver(feed, [Deregistered(self._next(), key)])
        return gone

    async def sweep(self) -> SweepReport:
        """Expire every instance past its lease and grace, unless the guard holds it."""
        feed = self._started()
        plan = self._leases.sweep(self._clock.monotonic())
        events: list[Event] = [Expired(self._next(), key) for key in plan.expired]
        for key in plan.expired:
            self._forget(key)
        for key in plan.suspected:
            held = msgspec.structs.replace(self._held(key), suspect=True)
            events.append(Registered(self._next(), held, self._catalog.heartbeat_at(key)))
        self._deliver(feed, events)
        return SweepReport(plan.expired, plan.amnesty_s, plan.suspected, plan.spared)

    def guards(self) -> tuple[GuardReport, ...]:
        """Return the state of the one shard's guard."""
        guard, terms, instances = self._leases.guard, self._leases.terms.guard, len(self._leases)
        held_s = 0.0 if guard.held_since is None else self._clock.monotonic() - guard.held_since
        return (
            GuardReport(
                shard=SHARD_NAME,
                phase=guard.phase,
                instances=instances,
                suspects=self._leases.suspect_count,
                held_s=held_s,
                releases_in_s=max(0.0, terms.hold_s - held_s) if guard.phase is GuardPhase.HOLDING else None,
                budget_per_minute=terms.budget(instances),
            ),
        )

    async def release_guard(self, shard: str | None = None) -> tuple[str, ...]:
        """Release the guard. Raises NotFound for a shard of another name."""
        self._started()
        if shard is not None and shard != SHARD_NAME:
            raise NotFound(f"there is no shard {shard!r}", field="shard", provided=shard, example=SHARD_NAME)
        return (SHARD_NAME,) if self._leases.release_guard(self._clock.monotonic()) else ()

    async def snapshot(self) -> Snapshot:
        """Return every instance, with the cursor from which events continue."""
        self._started()
        return self._snapshot()

    def _snapshot(self) -> Snapshot:
        return Snapshot(cursor_of([self._position]), self._catalog.all())

    def _started(self) -> Feed:
        if self._feed is None:
            raise StoreUnavailable("the store is not running")
        return self._feed

    def _meant(self, beat: Beat) -> Instance | None:
        """Return the instance that a beat is for; without an id, the service's newest one."""
        if beat.instance_id is not None:
            return self._catalog.get(InstanceKey(label_of(beat.service_name), beat.instance_id))
        service = self._catalog.find(beat.service_name)
        if service is None:
            return None
        return max(service.instances, key=lambda i: (i.registered_at, i.instance_id))

    def _held(self, key: InstanceKey) -> Instance:
        held = self._catalog.get(key)
        if held is None:
            raise NotFound(
                f"no instance {key.instance_id!r} of {key.label!r} is registered",
                field="instance_id",
                provided=key.instance_id,
            )
        return held

    def _last(self, key: InstanceKey) -> LastWrite | None:
        """Return the last accepted write of an instance: of its record, else of its removal."""
        held = self._catalog.get(key)
        if held is not None:
            return LastWrite(held.epoch, self._sequences.get(key))
        stone = self._tombstones.get(key, self._clock.monotonic())
        return stone.last if stone is not None else None

    def _note(self, key: InstanceKey, last: LastWrite) -> None:
        """Remember the last write of a registered instance."""
        self._tombstones.drop(key)
        self._sequences.pop(key, None)
        if last.sequence is not None:
            self._sequences[key] = last.sequence

    def _forget(self, key: InstanceKey) -> None:
        """End the lease of an instance that is removed, and forget its sequence."""
        self._leases.release(key)
        self._sequences.pop(key, None)

    def _next(self) -> Position:
        p = self._position
        self._position = Position(p.shard, p.epoch, p.revision + 1)
        return self._position

    def _deliver(self, feed: Feed, events: Sequence[Event]) -> None:
        with span("cache.set"):
            for event in events:
                self._catalog.apply(event)
            if events:
                feed.apply(events)
