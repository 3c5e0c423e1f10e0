"""A follower's view: a replica's, but its leases and its state are as the upstream reports them.

It takes the changes of an upstream's watch. What the upstream has lost its memory of is kept until that knows
everything again, as at an agent: a follower becomes old, and never empty.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from registry_core.api.view import ReplicaState, ReplicaView, StoreAge
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.events import Deregistered, Event, Registered, Renewed
from registry_core.domain.freshness import Freshness, freshness_of
from registry_core.domain.records import InstanceKey
from registry_core.follow.stage import FollowerStage
from registry_core.ports.clock import Clock
from registry_core.ports.store import Snapshot
from registry_core.watch.changes import (
    Happened,
    Heard,
    LeaseReport,
    Moved,
    PassedOver,
    Replaced,
    SentOn,
    Synced,
    UnknownEvent,
    WatchChange,
)
from registry_core.watch.lease_times import LeaseTimes
from registry_core.watch.lines import Heartbeat
from registry_core.watch.trust import READY, SILENT_AFTER_S, Advice, ViewTrust


class Then(enum.Enum):
    """What a follower does after a change."""

    GO_ON = enum.auto()
    TELL = enum.auto()  # pass the sign of life on to its own readers now
    READ_ALL = enum.auto()  # read everything again


class FollowerView(ReplicaView):
    """The data of a follower."""

    def __init__(self, clock: Clock, *, ttl_s: float) -> None:
        super().__init__(clock, ttl_s=ttl_s, warming_s=0.0, store_age_s=self.age_s, store=self._store_age)
        self.trust = ViewTrust(clock.monotonic())
        self.snapshots = 0
        self._leases = LeaseTimes(ttl_s)
        self._report: LeaseReport | None = None
        self._stage = FollowerStage(self.catalog)
        # What is no longer in view, and still takes memory: it is shed bit by bit as changes are applied.
        self.stale = Catalog()

    # -- how far it can be trusted

    @property
    def state(self) -> ReplicaState:
        """As the registry reports it; warming until it has reported anything."""
        return ReplicaState.READY if self.loaded and self.trust.state == READY else ReplicaState.WARMING

    def warm_in_s(self) -> float:
        """Return 0 when the registry is ready; otherwise the time until its next sign of life, about."""
        return 0.0 if self.state is ReplicaState.READY else SILENT_AFTER_S

    def age_s(self) -> float:
        """Return the seconds since the registry last confirmed the view."""
        return self.trust.age_s(self._clock.monotonic())

    @property
    def freshness(self) -> Freshness:
        """The age class of every answer."""
        return freshness_of(self.age_s())

    @property
    def confidence(self) -> str:
        """How far answers can be trusted, as X-Cache says it."""
        return self.trust.confidence(self.freshness)

    def lacking(self) -> str:
        """Return why something may exist that is not in view; "" when that is certain not to be."""
        if not self.loaded:
            return "the registry that this one follows has not been read yet"
        if self.freshness is Freshness.EXPIRED:
            return f"the registry that this one follows has confirmed nothing for {self.age_s():.0f} s"
        if self.trust.unread:
            return f"the registry that this one follows cannot read {', '.join(map(repr, self.trust.unread))}"
        return "" if self.trust.whole else "what was read of the registry that this one follows does not add up"

    def _store_age(self) -> StoreAge:
        return StoreAge(self.age_s() if self.loaded else None, self.trust.unread)

    # -- leases

    @property
    def late_after_s(self) -> float:
        """The seconds within which all leases were renewed but the late ones; 0 when that is not known at present."""
        return self._report.late_after_s if self._report is not None else 0.0

    def late(self, most: int, label: str | None = None) -> tuple[tuple[Heartbeat, ...], int]:
        """Return up to `most` late leases as the registry named them, and the number of all that it knows of."""
        if self._report is None:
            return (), 0
        rows = [
            (instance.service_name, key.instance_id, at)
            for key, at in self._report.late.items()
            if label in (None, key.label) and (instance := self.catalog.get(key)) is not None
        ]
        return tuple(rows[:most]), len(rows) + (not self._report.all_named)

    def ttl_remaining_s(self, key: InstanceKey) -> float:
        """Return the least remaining TTL of a lease, in seconds, that the registry's reports allow."""
        return self._leases.ttl_remaining_s(key, self.catalog.heartbeat_at(key), self._clock.monotonic())

    def heartbeat_at(self, lived: Lived) -> float:
        """Return the earliest time of an instance's last heartbeat, in Unix seconds of the registry's clock."""
        return self._leases.heartbeat_at(lived.instance.key, lived.heartbeat_at, self._clock.monotonic())

    def oldest_age_s(self) -> float | None:
        """Return the least time since the heartbeat of the instance that has been silent the longest."""
        if not self.catalog or self._report is None:
            return None
        return self._report.late_after_s if self._report.late else 0.0

    # -- the upstream's watch

    def stage(self) -> FollowerStage:
        """Return the stage of the next snapshot; the one before is given up."""
        self._stage = FollowerStage(self.catalog)
        return self._stage

    def opened(self, registry_time: float | None) -> None:
        """Note that a stream was opened when the registry's clock showed `registry_time` (Unix seconds)."""
        self._leases.opened(registry_time, self._clock.monotonic())

    def lost(self) -> None:
        """Note that the stream has ended: from now on the view ages, and no lease is known to be in time."""
        self.trust.live = False
        self._report = None

    def take(self, change: WatchChange) -> Then:
        """Apply one change; return what to do."""
        self.trust.heard(self._clock.monotonic())
        then = Then.GO_ON
        match change:
            case Replaced():
                self._replace(change)
            case Moved():
                self._move(change)
            case Happened(event=event):
                self.apply((event,))
            case UnknownEvent() | PassedOver():
                # Its own readers could not be told what happened, so everything is read again, and they read it here.
                then = Then.READ_ALL
            case Heard(renewed=renewed):
                self._hear_of(renewed)
            case Synced():
                then = self._sync(change)
            case SentOn():
                pass
        self.trust.taken()
        return then

    def _replace(self, change: Replaced) -> None:
        stage, before = self._stage, self.cursor
        self._stage = FollowerStage(self.catalog)
        has_data = bool(change.cursor.positions)
        dropped = not self.loaded or self.trust.may_drop(change, before)
        if not dropped:
            # The registry does not know everything itself: what it lacks stays.
            self.catalog.merge(stage.catalog.all())
            self.cursor = change.cursor
            for listener in self._listeners:
                listener.on_reset()
        elif self.loaded and has_data and (differences := stage.differences(change.cursor.positions[0])) is not None:
            self.moved(change.cursor, differences)
            self.stale = stage.catalog
        else:
            self.reset(Snapshot(change.cursor, (), whole=change.whole and has_data, built=stage.catalog))
            self.stale = stage.catalog  # what was in view before
        self.snapshots += has_data
        self.trust.replaced(change, before, dropped=dropped, whole=has_data and self._adds_up(change.digest))

    def _move(self, change: Moved) -> None:
        position = change.cursor.positions[0]
        # A registry that is still warming up does not know which instances were removed.
        removed = change.removed if change.state == READY else ()
        differences: list[Event] = [Registered(position, one.instance, one.heartbeat_at) for one in change.instances]
        differences += [Deregistered(position, key) for key, _ in removed]
        self.moved(change.cursor, differences)
        self.trust.moved(change, whole=self._adds_up(change.digest))

    def _hear_of(self, renewed: Iterable[tuple[InstanceKey, float]]) -> None:
        self.apply([Renewed(self.cursor.positions[0], key, at) for key, at in renewed])
        self._leases.heard_of((at for _, at in renewed), self.trust.heard_at, SILENT_AFTER_S)

    def _sync(self, change: Synced) -> Then:
        self._report = change.leases
        self._leases.told(change.leases, self.trust.heard_at, knows_all=change.state == READY)
        advice = self.trust.synced(change, whole=self._adds_up(change.digest))
        return Then.READ_ALL if advice is Advice.RESYNC else Then.TELL

    def _adds_up(self, digest: str) -> bool:
        return digest == self.catalog.digest

    def _hear(self, key: InstanceKey, now: float) -> None:
        """Do nothing: the registry reports on leases."""
