"""The local view: all that this agent knows of the registry's catalogue, and how sure it is of it.

It takes the changes that the watch brings and answers from memory. It drops nothing because it could
not ask: what a registry says that has just lost its memory is added, and only a registry that knows
everybody again may take something away.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from typing import Final

from agent.fallback import Fallback
from agent.snapshot import Saved
from agent.watch_reader import Change, Happened, Heard, Replaced, Synced
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.cursor import Cursor
from registry_core.domain.events import Position, Renewed
from registry_core.domain.freshness import DEFAULT_LIMITS, Freshness, FreshnessLimits, freshness_of
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.records import InstanceKey
from registry_core.ports import Clock

READY: Final = "ready"
SYNC_PERIOD_S: Final = 5.0
# A stream that misses one sign of life is slow, one that misses two is silent.
SILENT_AFTER_S: Final = 2 * SYNC_PERIOD_S
# How long a registry with a new history, but no word of warming up, is given to hear from everybody.
SETTLE_S: Final = 10.0
RESYNC_EVERY_S: Final = 60.0
CLOCK_ERROR_S: Final = 2.0  # HTTP tells the time in whole seconds
_NO_FALLBACK: Final = Fallback()
_NOWHERE: Final = Position(0, "", 0)  # a renewal has no place in history


class Advice(enum.StrEnum):
    """What the agent has to do about a change."""

    NOTHING = "nothing"
    REASSERT = "reassert"  # the registry lost its memory: register again
    RESYNC = "resync"  # the view is not the registry's: read everything anew


class View:
    """The view of one agent. A `LocalView` for the faces that answer from it."""

    def __init__(
        self,
        clock: Clock,
        *,
        limits: FreshnessLimits = DEFAULT_LIMITS,
        ttl_s: float = LeaseTerms().ttl_s,
        fallback: Fallback | None = None,
    ) -> None:
        """`fallback` is asked for services of which nobody can tell whether they exist."""
        self._clock = clock
        self._limits = limits
        self._ttl_s = ttl_s
        self._fallback = fallback if fallback is not None else _NO_FALLBACK
        self._catalog = Catalog()
        self._listeners: list[Callable[[frozenset[str]], None]] = []
        self.cursor = Cursor()
        self.state = ""  # the registry's word: "warming" or "ready"; nothing before the first
        self.loaded = False
        self.live = False
        # Whether the view was, as far as can be told, all and only what the registry had.
        self._whole = False
        self._settled_at = -math.inf
        self._store_age_s = 0.0  # how old the registry's own view of its store was, by its last word
        self._heard_at = self._confirmed_at = clock.monotonic()
        self._wall_offset_s: float | None = None  # the registry's Unix time less our monotonic time
        self._shown = (self.complete, self.freshness)
        self.snapshots = self.events = self.mismatches = 0

    # -- what the faces ask

    @property
    def catalog(self) -> Catalog:
        """All that is known."""
        return self._catalog

    @property
    def complete(self) -> bool:
        """Whether a name that is missing is known not to exist.

        Not before everything has been read from a registry that knows everybody, and no longer when
        that was too long ago: "I cannot ask" is not "there is no such service".
        """
        return self._whole and self.state == READY and self.freshness is not Freshness.EXPIRED

    @property
    def elsewhere(self) -> Fallback:
        """What the environment or a file says of services that are not in the view.

        Nothing while the view can tell itself that there is no such service.
        """
        return _NO_FALLBACK if self.complete else self._fallback

    def use_fallback(self, fallback: Fallback) -> None:
        """Ask another one from now on."""
        self._fallback = fallback
        self._tell(frozenset())

    def located(self, addresses: Mapping[str, tuple[str, ...]]) -> None:
        """Take the addresses of the host names that the fallback has."""
        changed = self._fallback.located(addresses)
        if changed:
            self._tell(changed)

    def age_s(self) -> float:
        """Seconds since the registry last confirmed the view; 0 while its watch is live.

        Before anything was read, seconds since the agent began.
        """
        now = self._clock.monotonic()
        if self.live and self._whole and now - self._heard_at <= SILENT_AFTER_S:
            return max(0.0, self._heard_at - self._confirmed_at)
        return max(0.0, now - self._confirmed_at)

    @property
    def freshness(self) -> Freshness:
        """The age class of every answer."""
        return freshness_of(self.age_s(), self._limits)

    @property
    def lag_s(self) -> float:
        """Seconds since anything was heard from the registry."""
        return self._clock.monotonic() - self._heard_at

    def subscribe(self, listener: Callable[[frozenset[str]], None]) -> None:
        """Have `listener` called with the labels that changed; with none when all answers may have."""
        self._listeners.append(listener)

    def ttl_remaining_s(self, key: InstanceKey) -> float:
        """Return what is left of a lease's TTL, as far as the last heartbeats that were heard tell."""
        if self._wall_offset_s is None:
            return 0.0
        registry_now = self._clock.monotonic() + self._wall_offset_s
        return min(self._ttl_s, self.catalog.heartbeat_at(key) + self._ttl_s - registry_now)

    def lease_granted(self, ttl_s: float) -> None:
        """Take note of the TTL that the registry gives."""
        self._ttl_s = ttl_s

    # -- what stays over a restart

    def saved(self, wall: float) -> Saved:
        """Return everything, to be kept; `wall` is the time now, Unix seconds."""
        catalog = self._catalog
        lived = tuple(Lived(instance, catalog.heartbeat_at(instance.key)) for instance in catalog)
        return Saved(lived, self.cursor, catalog.digest, wall - self.age_s())

    def restore(self, saved: Saved, wall: float) -> None:
        """Begin with what was kept, before anything was heard.

        It is taken as expired, whatever its time says: that of a machine whose clock was set means
        nothing, and somebody else has to confirm it. Nothing that is missing is missing for sure.
        """
        self._catalog.replace(saved.instances)
        if self._catalog.digest == saved.digest:
            self.cursor = saved.cursor
        age_s = max(wall - saved.confirmed_at, self._limits.stale_s + 1.0)
        self._confirmed_at = self._clock.monotonic() - age_s
        self.loaded = True
        self._tell(frozenset())

    # -- what the watch brings

    def opened(self, registry_time: float | None) -> None:
        """A stream was opened; the registry's clock showed `registry_time` (Unix seconds) then."""
        if registry_time is not None:
            self._wall_offset_s = registry_time - self._clock.monotonic()

    def lost(self) -> None:
        """The stream has ended: from now on the view ages."""
        self.live = False
        self.tick()

    def apply(self, change: Change) -> Advice:
        """Take one change, tell the listeners what it changed, and return what is to be done."""
        self._heard_at = self._clock.monotonic()
        match change:
            case Replaced():
                advice = self._replace(change)
            case Happened(event=event, cursor=cursor):
                advice = Advice.NOTHING
                self.cursor = cursor
                self.events += 1
                label = self._catalog.apply(event)
                if label is not None:
                    self._tell(frozenset([label]))
            case Heard(renewed=renewed):
                advice = Advice.NOTHING
                for key, at in renewed:
                    self._catalog.apply(Renewed(_NOWHERE, key, at))
                self._set_clock_by(max((at for _, at in renewed), default=None), SILENT_AFTER_S)
            case Synced():
                advice = self._sync(change)
        if self._whole:
            self._confirmed_at = self._heard_at - self._store_age_s
        self.tick()
        return advice

    def tick(self) -> None:
        """Tell the listeners when time alone has changed what answers say. Called about every second."""
        shown = (self.complete, self.freshness)
        if shown != self._shown:
            self._shown = shown
            self._tell(frozenset())

    def _replace(self, change: Replaced) -> Advice:
        lost_memory = change.state not in (READY, self.state)
        new_history = any(
            (known := self.cursor.at(p.shard)) is not None and known.epoch != p.epoch for p in change.cursor.positions
        )
        if change.state == READY and not new_history:
            changed = self._catalog.replace(change.instances)
        else:
            changed = self._catalog.merge(change.instances)
            self._settled_at = self._heard_at + SETTLE_S
        self._whole = self._catalog.digest == change.digest
        self.cursor, self.state = change.cursor, change.state
        self.loaded = self.live = True
        self.snapshots += 1
        self._set_clock_by(max((lived.heartbeat_at for lived in change.instances), default=None), math.inf)
        if changed:
            self._tell(frozenset(changed))
        return Advice.REASSERT if lost_memory or new_history else Advice.NOTHING

    def _sync(self, change: Synced) -> Advice:
        lost_memory = change.state != READY and self.state == READY
        became_ready = change.state == READY and self.state != READY
        self.live = True
        self.state, self._store_age_s = change.state, max(0.0, change.store_age_s)
        self._whole = self._catalog.digest == change.digest
        if lost_memory:
            return Advice.REASSERT
        # What was kept over the registry's loss of memory is dropped only now, when it knows everybody.
        settled = became_ready or self._heard_at >= self._settled_at
        if self._whole:
            self._settled_at = -math.inf
            return Advice.NOTHING
        if change.state != READY or not settled:
            return Advice.NOTHING
        # Should the next snapshot not help either (a registry that counts differently), the view goes
        # on by its events, and tries again only now and then.
        self._settled_at = self._heard_at + RESYNC_EVERY_S
        self.mismatches += not became_ready
        return Advice.RESYNC

    def _set_clock_by(self, newest_heartbeat_at: float | None, most_age_s: float) -> None:
        # The registry's clock is never set by comparing it with ours. The newest heartbeat that it
        # speaks of is from 0 to `most_age_s` old; an estimate that does not fit is of before a jump.
        if newest_heartbeat_at is None:
            return
        offset_s, known_s = newest_heartbeat_at - self._heard_at, self._wall_offset_s
        if known_s is None or offset_s > known_s + CLOCK_ERROR_S or offset_s < known_s - most_age_s - CLOCK_ERROR_S:
            self._wall_offset_s = offset_s

    def _tell(self, labels: frozenset[str]) -> None:
        for listener in self._listeners:
            listener(labels)
