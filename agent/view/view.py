"""The local view: this agent's copy of the registry's catalogue, and how far it can be trusted.

It applies the changes of the watch and answers from memory; `cache.py` decides which services fit. It drops
nothing because the registry cannot be reached: a registry that has just lost its data may only add, and only
one that is complete again may remove.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from agent.registration.decisions import Timings
from agent.view.cache import LossGuard, ViewCache
from agent.view.draining import DrainingInstances
from agent.view.fallback import Fallback
from agent.view.known import KnownServices
from agent.view.lru import ViewLimits
from agent.view.snapshot_file import ViewSnapshot
from agent.view.staging import Staging
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.events import Position, Renewed
from registry_core.domain.freshness import DEFAULT_LIMITS, Freshness, FreshnessLimits, Refresh, decide, freshness_of
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.names import label_of
from registry_core.domain.records import Instance, InstanceKey, Protocol, Service
from registry_core.ports.clock import Clock
from registry_core.watch.changes import Happened, Heard, Moved, PassedOver, Replaced, Synced, UnknownEvent, WatchChange
from registry_core.watch.cursor import Cursor
from registry_core.watch.lease_times import LeaseTimes
from registry_core.watch.trust import READY, SILENT_AFTER_S, Advice, ViewTrust

_NOWHERE: Final = Position(0, "", 0)  # a renewal has no place in history


class AgentView:
    """The view of one agent. It is the `LocalView` that HTTP and DNS answer from."""

    def __init__(
        self,
        clock: Clock,
        *,
        limits: FreshnessLimits = DEFAULT_LIMITS,
        ttl_s: float = LeaseTerms().ttl_s,
        fallback: Fallback | None = None,
        room: ViewLimits | None = None,
        own: frozenset[str] = frozenset(),
        drain_srv_s: float = Timings().drain_srv_s,
    ) -> None:
        """`fallback` answers for services that the view cannot rule out.

        `room` limits what is held; services whose labels are in `own` are always held. SRV answers name an instance
        for `drain_srv_s` after it began to drain.
        """
        self._clock = clock
        self._limits = limits
        self._leases = LeaseTimes(ttl_s)
        self._cache = ViewCache(room, own)
        self._catalog = self._cache.catalog
        self.services = KnownServices(self._cache, fallback, lambda: self.complete)
        self.draining = DrainingInstances(drain_srv_s)
        self._quiet: set[str] = set()  # held, but not looked up since the last tidy-up
        # Set by the composition root: they read a service, and reconnect a lost watch soon.
        self.fetcher: Callable[[str], asyncio.Future[None] | None] | None = None
        self.refresh: Callable[[], None] | None = None
        # Set the same way: begins to read a service again.
        self.reread: Callable[[str], object] | None = None
        self._listeners: list[Callable[[frozenset[str]], None]] = []
        self.cursor = Cursor()
        self.trust = ViewTrust(clock.monotonic())
        self.loaded = False
        self._shown = (self.complete, self.freshness)
        self.loss_guard: LossGuard | None = None
        self.unreadable = ""  # the last part of the stream that could not be read; "" if there is none
        self.snapshots = self.events = self.losses_prevented = self.passed_over = 0

    # -- for HTTP and DNS

    @property
    def catalog(self) -> Catalog:
        """The instances that are held."""
        return self._catalog

    @property
    def holds_all(self) -> bool:
        """Whether every known service is held."""
        return not self._cache.absent

    @property
    def bytes(self) -> int:
        """The measured memory of what is held, in bytes."""
        return self._cache.lru.bytes

    @property
    def limits(self) -> ViewLimits:
        """The limits of what is held."""
        return self._cache.lru.limits

    @property
    def evictions(self) -> int:
        """The number of services evicted so far."""
        return self._cache.evictions

    @property
    def known(self) -> int:
        """The number of services, held or not."""
        return self._catalog.service_count + len(self._cache.absent)

    def labels(self) -> Collection[str]:
        """Return the labels of all services, held or not."""
        return self.services.labels()

    def transports(self, label: str) -> frozenset[Protocol]:
        """Return the transports of the service: TCP, UDP or both."""
        return self.services.transports(label)

    def by_short(self, short: str) -> Instance | None:
        """Return the instance whose short id is `short`, or None."""
        return self.services.by_short(short)

    def by_ip(self, ip: str) -> tuple[Instance, ...]:
        """Return the instances with this IP address."""
        return self.services.by_ip(ip)

    def find(self, name: str) -> Service | None:
        """Return a service, and record the lookup.

        A stale view is served unchanged, and triggers a refresh.
        """
        label = label_of(name)
        if self.refresh is not None and decide(self.age_s(), self.trust.live, self._limits).refresh is not Refresh.NONE:
            self.refresh()
        if self._catalog.instance_count(label):
            self._cache.asked(label)
            self._quiet.discard(label)
        return self.services.find(label)

    def lacks(self, name: str) -> bool:
        """Return whether the service exists but is not held."""
        return label_of(name) in self._cache.absent

    def fetch(self, name: str) -> asyncio.Future[None] | None:
        """Begin to read a service that is not held; None if it is held or unknown, or no registry can be asked now."""
        return self.fetcher(label_of(name)) if self.fetcher is not None and self.lacks(name) else None

    @property
    def complete(self) -> bool:
        """Whether a name that the view lacks is known not to exist.

        True once everything has been read from a complete registry, until the view expires: "I cannot ask" is not
        "there is no such service".
        """
        return self.trust.knows_all and self.freshness is not Freshness.EXPIRED

    def use_fallback(self, fallback: Fallback) -> None:
        """Replace the static services."""
        self.services.use_fallback(fallback)
        self._tell(frozenset())

    def use_own_instances(self, instances: Iterable[Instance]) -> None:
        """Replace this agent's own instances, which it answers for even if the registry does not have them."""
        changed = self.services.use_own(instances)
        if changed:
            self._tell(frozenset(changed))

    def use_own(self, labels: frozenset[str]) -> None:
        """Always hold the services of these labels from now on."""
        self._cache.lru.use_own(labels)

    def located(self, addresses: Mapping[str, tuple[str, ...]]) -> None:
        """Set the addresses of the static services' host names."""
        changed = self.services.located(addresses)
        if changed:
            self._tell(changed)

    def age_s(self) -> float:
        """Return the seconds since the registry last confirmed the view; 0 while its watch is live.

        Before the first read, the seconds since the agent started.
        """
        return self.trust.age_s(self._clock.monotonic())

    @property
    def freshness(self) -> Freshness:
        """The age class of every answer."""
        return freshness_of(self.age_s(), self._limits)

    @property
    def lag_s(self) -> float:
        """Seconds since anything was heard from the registry."""
        return self._clock.monotonic() - self.trust.heard_at

    def has_drained(self, instance: Instance) -> bool:
        """Return whether the instance has drained for long enough to leave SRV answers, too."""
        return self.draining.has_left(instance.key) or self.services.is_only_own(instance.key)

    def subscribe(self, listener: Callable[[frozenset[str]], None]) -> None:
        """Call `listener` with the labels that changed; with none when all answers may have changed."""
        self._listeners.append(listener)

    def heartbeat_at(self, key: InstanceKey) -> float:
        """Return the earliest time of an instance's last heartbeat, in Unix seconds of the registry's clock."""
        return self._leases.heartbeat_at(key, self._catalog.heartbeat_at(key), self._clock.monotonic())

    def ttl_remaining_s(self, key: InstanceKey) -> float:
        """Return the least remaining TTL of a lease, in seconds, that the registry's reports allow."""
        return self._leases.ttl_remaining_s(key, self._catalog.heartbeat_at(key), self._clock.monotonic())

    def lease_granted(self, ttl_s: float) -> None:
        """Record the TTL that the registry grants."""
        self._leases.ttl_s = ttl_s

    # -- kept across restarts

    def snapshot(self, wall: float) -> ViewSnapshot:
        """Return a snapshot of what is held; `wall` is the current time in Unix seconds."""
        catalog = self._catalog
        lived = tuple(Lived(instance, catalog.heartbeat_at(instance.key)) for instance in catalog)
        # An agent that starts with a part of the fleet cannot resume by events: it needs a full snapshot.
        cursor = self.cursor if self.holds_all else Cursor()
        return ViewSnapshot(lived, cursor, catalog.digest, wall - self.age_s())

    def restore(self, snapshot: ViewSnapshot, wall: float) -> None:
        """Start with a kept snapshot, before the registry has sent anything.

        It counts as expired whatever its timestamp says, since the machine's clock may have been set, until the
        registry confirms it. A name that it lacks may still exist.
        """
        staging = self.staging()
        staging.add(snapshot.instances)
        self._cache.replace(*staging.taken())
        if self._catalog.digest == snapshot.digest:
            self.cursor = snapshot.cursor
        age_s = max(wall - snapshot.confirmed_at, self._limits.stale_s + 1.0)
        self.trust.aged(age_s, self._clock.monotonic())
        self.loaded = True
        self.draining.settle(self._catalog.labels(), self._catalog, self._clock.monotonic())
        self._tell(frozenset())

    # -- changes from the watch

    def opened(self, registry_time: float | None) -> None:
        """Record that a stream was opened when the registry's clock showed `registry_time` (Unix seconds)."""
        self._leases.opened(registry_time, self._clock.monotonic())

    def lost(self) -> None:
        """Record that the stream has ended: from now on the view ages."""
        self.trust.live = False
        self.tick()

    def staging(self) -> Staging:
        """Return a staging area for the parts of a snapshot."""
        return self._cache.staging()

    def expect(self, label: str) -> None:
        """Record that the read of a service that is not held has begun."""
        self._cache.expect(label, self.cursor)

    def give_up(self, label: str) -> None:
        """Record that the read of a service has ended."""
        self._cache.give_up(label)

    def take(self, label: str, read: Replaced) -> bool:
        """Apply a service that was read; return False if it is older than the view or does not match the registry."""
        was_held = self._catalog.instance_count(label) > 0
        changed = self._cache.take(label, read.instances, read.cursor, read.digest)
        self._changed(changed or (), held=was_held)
        return changed is not None

    def apply(self, change: WatchChange) -> Advice:
        """Apply one change, notify the listeners, and return what to do."""
        now = self._clock.monotonic()
        self.trust.heard(now)
        advice = Advice.NOTHING
        match change:
            case Replaced():
                advice = self._replace(change)
            case Moved():
                advice = self._move(change)
            case Happened(event=event, cursor=cursor, change=did, count=count):
                self.cursor = cursor
                self.events += 1
                changed = self._cache.apply(event, change=did, count=count)
                if changed:
                    instance = self._catalog.get(key := event.key)
                    self.draining.note(key, None if instance is None else instance.status, now)
                    self._tell(frozenset(changed))
            case UnknownEvent():
                self._take_unknown(change)
            case PassedOver(problem=problem):
                self._cache.doubt()
                self._passed_over(problem)
            case Heard(renewed=renewed):
                for key, at in renewed:
                    self._catalog.apply(Renewed(_NOWHERE, key, at))
                self._leases.heard_of((at for _, at in renewed), now, SILENT_AFTER_S)
            case Synced():
                advice = self._sync(change)
        self.trust.taken()
        if not (self.trust.live and isinstance(change, Happened)):  # an event makes no live view fresher
            self.tick()
        return advice

    def tidy(self, most: int) -> list[str]:
        """Tidy up, about once a minute; return up to `most` services to read, because they fit again.

        Ready answers bypass the view, which then sees no lookup. So a full view invalidates the answers of services
        without a recent lookup: the next query reaches the view again and counts.
        """
        self._cache.reached(self.cursor)
        self.draining.prune(self._catalog)
        if not self.holds_all and self._quiet:
            self._tell(frozenset(self._quiet))
        self._quiet = set(self._catalog.labels())
        if not self.trust.live:
            return []
        return [*self._cache.unknown, *self._cache.wanted_back(most)][: max(most, 1)]

    def tick(self) -> None:
        """Notify the listeners if time alone has changed the answers. Called about every second, and at drains."""
        left = self.draining.leave(self._clock.monotonic())
        if left:
            self._tell(frozenset(left))
        shown = (self.complete, self.freshness)
        if shown != self._shown:
            self._shown = shown
            self._tell(frozenset())

    def _replace(self, change: Replaced) -> Advice:
        now = self.trust.heard_at
        dropped = self.trust.may_drop(change, self.cursor)
        if dropped:
            changed = self._cache.replace(change.instances, change.rest)
            self.loss_guard = None
        else:
            loss = self._cache.loss(change.instances, change.rest, now)
            if loss is not None:
                self.losses_prevented += 1
                self.loss_guard = loss
            changed = self._cache.merge(change.instances, change.rest)
        if change.whole:
            self.unreadable = ""
        else:
            self._cache.doubt()
        whole = self._cache.adds_up(change.digest)
        advice = self.trust.replaced(change, self.cursor, dropped=dropped, whole=whole)
        self.cursor = change.cursor
        self.loaded = True
        self.snapshots += 1
        self._leases.heard_of((lived.heartbeat_at for lived in change.instances), now, math.inf)
        self._changed(changed)
        return advice

    def _move(self, change: Moved) -> Advice:
        """Apply the differences; if the view does not add up, the next keepalives lead to a full resync."""
        # A registry that is still warming up does not know which instances were removed.
        changed = self._cache.move(change.instances, change.removed if change.state == READY else ())
        advice = self.trust.moved(change, whole=self._cache.adds_up(change.digest))
        self.cursor = change.cursor
        self._changed(changed)
        return advice

    def _sync(self, change: Synced) -> Advice:
        self._leases.told(change.leases, self.trust.heard_at, knows_all=change.state == READY)
        self._cache.reached(change.cursor)
        advice = self.trust.synced(change, whole=self._cache.adds_up(change.digest))
        if self.trust.whole and change.digest:
            self.loss_guard = None
        return advice

    def _take_unknown(self, change: UnknownEvent) -> None:
        self.cursor = change.cursor
        self._passed_over(change.problem)
        if self._cache.happened_unknown(change.label, change.change, change.cursor):
            # The view cannot add up until the service has been read; that mismatch needs no full resync.
            self.trust.unsettled()
            if self.reread is not None:
                self.reread(change.label)

    def _passed_over(self, problem: str) -> None:
        self.passed_over += 1
        self.unreadable = problem

    def _changed(self, labels: Collection[str], *, held: bool = True) -> None:
        if labels:
            self.draining.settle(labels, self._catalog, self._clock.monotonic(), held=held)
            self._tell(frozenset(labels))

    def _tell(self, labels: frozenset[str]) -> None:
        for listener in self._listeners:
            listener(labels)
