"""The local view: all that this agent knows of the registry's catalogue, and how sure it is of it.

It takes the changes that the watch brings and answers from memory; which services it has room for stands
in `cache.py`. It drops nothing because it could not ask: what a registry says that has just lost its
memory is added, and only a registry that knows everybody again may take something away.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Mapping
from typing import Final

from agent.view.cache import LossGuard, ViewCache
from agent.view.fallback import Fallback
from agent.view.lease_times import LeaseTimes
from agent.view.lru import ViewLimits
from agent.view.snapshot_file import ViewSnapshot
from agent.view.staging import Staging
from agent.view.trust import READY, SILENT_AFTER_S, Advice, ViewTrust
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.events import Position, Renewed
from registry_core.domain.freshness import DEFAULT_LIMITS, Freshness, FreshnessLimits, Refresh, decide, freshness_of
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.names import label_of
from registry_core.domain.records import InstanceKey, Protocol, Service
from registry_core.ports.clock import Clock
from registry_core.watch.changes import Happened, Heard, Moved, PassedOver, Replaced, Synced, UnknownEvent, WatchChange
from registry_core.watch.cursor import Cursor
from registry_core.watch.stage import transports_of

_NO_FALLBACK: Final = Fallback()
_NOWHERE: Final = Position(0, "", 0)  # a renewal has no place in history


class AgentView:
    """The view of one agent. A `LocalView` for the faces that answer from it."""

    def __init__(
        self,
        clock: Clock,
        *,
        limits: FreshnessLimits = DEFAULT_LIMITS,
        ttl_s: float = LeaseTerms().ttl_s,
        fallback: Fallback | None = None,
        room: ViewLimits | None = None,
        own: frozenset[str] = frozenset(),
    ) -> None:
        """`fallback` is asked for services of which nobody can tell whether they exist.

        `room` bounds what is held; services whose labels are in `own` are held in any case.
        """
        self._clock = clock
        self._limits = limits
        self._leases = LeaseTimes(ttl_s)
        self._fallback = fallback if fallback is not None else _NO_FALLBACK
        self._cache = ViewCache(room, own)
        self._catalog = self._cache.catalog
        self._quiet: set[str] = set()  # held, and not asked for since the last tidy-up
        # Set by who can do it: asks the registry for a service, and for a sign of life.
        self.fetcher: Callable[[str], asyncio.Future[None] | None] | None = None
        self.refresh: Callable[[], None] | None = None
        # Set likewise: begins to read a service anew.
        self.reread: Callable[[str], object] | None = None
        self._listeners: list[Callable[[frozenset[str]], None]] = []
        self.cursor = Cursor()
        self.trust = ViewTrust(clock.monotonic())
        self.loaded = False
        self._shown = (self.complete, self.freshness)
        self.loss_guard: LossGuard | None = None
        self.unreadable = ""  # what of the stream could not be read last; "" when all of it could be
        self.snapshots = self.events = self.losses_prevented = self.passed_over = 0

    # -- what the faces ask

    @property
    def catalog(self) -> Catalog:
        """All that is held."""
        return self._catalog

    @property
    def holds_all(self) -> bool:
        """Whether every service that is known is held."""
        return not self._cache.absent

    @property
    def bytes(self) -> int:
        """What is held takes so much memory, as measured."""
        return self._cache.lru.bytes

    @property
    def limits(self) -> ViewLimits:
        """The bounds of what is held."""
        return self._cache.lru.limits

    @property
    def evictions(self) -> int:
        """Services that gave up their places to others."""
        return self._cache.evictions

    @property
    def known(self) -> int:
        """The number of services, held or not."""
        return self._catalog.service_count + len(self._cache.absent)

    def names(self) -> list[str]:
        """Return the names of all services, held or not, sorted."""
        return self._cache.names()

    def labels(self) -> Collection[str]:
        """Return the labels of all services, held or not."""
        return self._cache.labels()

    def transports(self, label: str) -> frozenset[Protocol]:
        """Return TCP, UDP or both: what the service is reached by."""
        absent = self._cache.absent.get(label)
        if absent is not None:
            return absent.transports
        return frozenset().union(*(transports_of(i.instance) for i in self._catalog.lived(label)))

    def find(self, name: str) -> Service | None:
        """Return a service, from what is held or from static_services, and take note that it was asked for.

        An old view is served as it is, and has the registry asked for a sign of life.
        """
        label = label_of(name)
        if self.refresh is not None and decide(self.age_s(), self.trust.live, self._limits).refresh is not Refresh.NONE:
            self.refresh()
        found = self._catalog.find(label)
        if found is not None:
            self._cache.asked(label)
            self._quiet.discard(label)
            return found
        return (self._fallback if self.lacks(label) else self.static_services).find(label)

    def lacks(self, name: str) -> bool:
        """Whether there is such a service and it is not held."""
        return label_of(name) in self._cache.absent

    def fetch(self, name: str) -> asyncio.Future[None] | None:
        """Begin to read a service that is lacking; None when it is not, or when nobody can be asked now."""
        return self.fetcher(label_of(name)) if self.fetcher is not None and self.lacks(name) else None

    @property
    def complete(self) -> bool:
        """Whether a name that is missing is known not to exist.

        Not before everything has been read from a registry that knows everybody, and no longer when
        that was too long ago: "I cannot ask" is not "there is no such service".
        """
        return self.trust.knows_all and self.freshness is not Freshness.EXPIRED

    @property
    def static_services(self) -> Fallback:
        """What the environment or a file says of services that are not in the view.

        Nothing while the view can tell itself that there is no such service.
        """
        return _NO_FALLBACK if self.complete else self._fallback

    def use_fallback(self, fallback: Fallback) -> None:
        """Ask another one from now on."""
        self._fallback = fallback
        self._tell(frozenset())

    def use_own(self, labels: frozenset[str]) -> None:
        """Hold the services of these labels in any case from now on."""
        self._cache.lru.use_own(labels)

    def located(self, addresses: Mapping[str, tuple[str, ...]]) -> None:
        """Take the addresses of the host names that the fallback has."""
        changed = self._fallback.located(addresses)
        if changed:
            self._tell(changed)

    def age_s(self) -> float:
        """Seconds since the registry last confirmed the view; 0 while its watch is live.

        Before anything was read, seconds since the agent began.
        """
        return self.trust.age_s(self._clock.monotonic())

    @property
    def state(self) -> str:
        """The registry's word: "warming" or "ready"; nothing before the first."""
        return self.trust.state

    @property
    def live(self) -> bool:
        """Whether the registry's stream is there."""
        return self.trust.live

    @property
    def mismatches(self) -> int:
        """How often the view was not what the registry had, and everything was read anew."""
        return self.trust.mismatches

    @property
    def freshness(self) -> Freshness:
        """The age class of every answer."""
        return freshness_of(self.age_s(), self._limits)

    @property
    def lag_s(self) -> float:
        """Seconds since anything was heard from the registry."""
        return self._clock.monotonic() - self.trust.heard_at

    def subscribe(self, listener: Callable[[frozenset[str]], None]) -> None:
        """Have `listener` called with the labels that changed; with none when all answers may have."""
        self._listeners.append(listener)

    def heartbeat_at(self, key: InstanceKey) -> float:
        """Return when an instance was last heard of, at the earliest: Unix seconds, the registry's clock."""
        return self._leases.heartbeat_at(key, self._catalog.heartbeat_at(key), self._clock.monotonic())

    def ttl_remaining_s(self, key: InstanceKey) -> float:
        """Return what is left of a lease's TTL, at least, as far as the registry has told."""
        return self._leases.ttl_remaining_s(key, self._catalog.heartbeat_at(key), self._clock.monotonic())

    def lease_granted(self, ttl_s: float) -> None:
        """Take note of the TTL that the registry gives."""
        self._leases.ttl_s = ttl_s

    # -- what stays over a restart

    def snapshot(self, wall: float) -> ViewSnapshot:
        """Return all that is held, to be kept; `wall` is the time now, Unix seconds."""
        catalog = self._catalog
        lived = tuple(Lived(instance, catalog.heartbeat_at(instance.key)) for instance in catalog)
        # Who begins with a part cannot go on by events: it has to be told everything.
        cursor = self.cursor if self.holds_all else Cursor()
        return ViewSnapshot(lived, cursor, catalog.digest, wall - self.age_s())

    def restore(self, snapshot: ViewSnapshot, wall: float) -> None:
        """Begin with what was kept, before anything was heard.

        It is taken as expired, whatever its time says: that of a machine whose clock was set means
        nothing, and somebody else has to confirm it. Nothing that is missing is missing for sure.
        """
        staging = self.staging()
        staging.add(snapshot.instances)
        self._cache.replace(*staging.taken())
        if self._catalog.digest == snapshot.digest:
            self.cursor = snapshot.cursor
        age_s = max(wall - snapshot.confirmed_at, self._limits.stale_s + 1.0)
        self.trust.aged(age_s, self._clock.monotonic())
        self.loaded = True
        self._tell(frozenset())

    # -- what the watch brings

    def opened(self, registry_time: float | None) -> None:
        """A stream was opened; the registry's clock showed `registry_time` (Unix seconds) then."""
        self._leases.opened(registry_time, self._clock.monotonic())

    def lost(self) -> None:
        """The stream has ended: from now on the view ages."""
        self.trust.live = False
        self.tick()

    def staging(self) -> Staging:
        """Return where the parts of a snapshot are held back."""
        return self._cache.staging()

    def expect(self, label: str) -> None:
        """Take note that a service that is lacking is being read from now on."""
        self._cache.expect(label, self.cursor)

    def give_up(self, label: str) -> None:
        """Take note that the reading of a service has ended."""
        self._cache.give_up(label)

    def take(self, label: str, read: Replaced) -> bool:
        """Take a service that was read; return False when it is older than the view, or not what the registry has."""
        changed = self._cache.take(label, read.instances, read.cursor, read.digest)
        if changed:
            self._tell(frozenset(changed))
        return changed is not None

    def apply(self, change: WatchChange) -> Advice:
        """Take one change, tell the listeners what it changed, and return what is to be done."""
        now = self._clock.monotonic()
        self.trust.heard(now)
        match change:
            case Replaced():
                advice = self._replace(change)
            case Moved():
                advice = self._move(change)
            case Happened(event=event, cursor=cursor, change=did, count=count):
                advice = Advice.NOTHING
                self.cursor = cursor
                self.events += 1
                changed = self._cache.apply(event, change=did, count=count)
                if changed:
                    self._tell(frozenset(changed))
            case UnknownEvent():
                advice = Advice.NOTHING
                self._take_unknown(change)
            case PassedOver(problem=problem):
                advice = Advice.NOTHING
                self._cache.doubt()
                self._passed_over(problem)
            case Heard(renewed=renewed):
                advice = Advice.NOTHING
                for key, at in renewed:
                    self._catalog.apply(Renewed(_NOWHERE, key, at))
                self._leases.heard_of((at for _, at in renewed), now, SILENT_AFTER_S)
            case Synced():
                advice = self._sync(change)
        self.trust.taken()
        self.tick()
        return advice

    def tidy(self, most: int) -> list[str]:
        """Tidy up, now and then; return services, at most so many, that there is room for again.

        Ready answers never come here: what a full view did not see asked for has its answers made anew, so
        that the next question tells that somebody asks.
        """
        self._cache.reached(self.cursor)
        if not self.holds_all and self._quiet:
            self._tell(frozenset(self._quiet))
        self._quiet = set(self._catalog.labels())
        if not self.trust.live:
            return []
        return [*self._cache.unknown, *self._cache.wanted_back(most)][: max(most, 1)]

    def tick(self) -> None:
        """Tell the listeners when time alone has changed what answers say. Called about every second."""
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
        if changed:
            self._tell(frozenset(changed))
        return advice

    def _move(self, change: Moved) -> Advice:
        """Take what differs; should the sum not be the registry's, the next signs of life lead to all of it anew."""
        # A registry that does not know everybody does not know either who was taken out.
        changed = self._cache.move(change.instances, change.removed if change.state == READY else ())
        advice = self.trust.moved(change, whole=self._cache.adds_up(change.digest))
        self.cursor = change.cursor
        if changed:
            self._tell(frozenset(changed))
        return advice

    def _sync(self, change: Synced) -> Advice:
        self._leases.told(change.leases, self.trust.heard_at)
        self._cache.reached(change.cursor)
        advice = self.trust.synced(change, whole=self._cache.adds_up(change.digest))
        if self.trust.whole and change.digest:
            self.loss_guard = None
        return advice

    def _take_unknown(self, change: UnknownEvent) -> None:
        self.cursor = change.cursor
        self._passed_over(change.problem)
        if self._cache.happened_unknown(change.label, change.change):
            # Until it has been read the sum cannot be the registry's, which is no reason to read everything.
            self.trust.unsettled()
            if self.reread is not None:
                self.reread(change.label)

    def _passed_over(self, problem: str) -> None:
        self.passed_over += 1
        self.unreadable = problem

    def _tell(self, labels: frozenset[str]) -> None:
        for listener in self._listeners:
            listener(labels)
