"""Decides how far the view matches the registry: whether it is whole, how old it is, and what to do. Pure.

The view is whole if its parts add up to the registry's digest. A registry that has lost its data, or has read only
part of its store, may add instances but remove none. Callers pass `now`, a monotonic time.
"""

from __future__ import annotations

import enum
import math
from typing import Final

from registry_core.domain.freshness import Freshness
from registry_core.watch.changes import Moved, Replaced, Synced
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import SYNC_EVERY_S

READY: Final = "ready"
# In X-Cache, beside the classes of freshness.
PARTIAL: Final = "partial"
# A stream that misses one keepalive is slow; one that misses two is silent.
SILENT_AFTER_S: Final = 2 * SYNC_EVERY_S
# How long a registry with a new history that does not report warming up has to hear from all agents.
SETTLE_S: Final = 10.0
# If a snapshot does not help (a registry that computes its digest differently), events are trusted for this long.
RESYNC_EVERY_S: Final = 60.0


class Advice(enum.StrEnum):
    """What the agent must do after a change."""

    NOTHING = "nothing"
    REASSERT = "reassert"  # the registry lost its data: register again
    RESYNC = "resync"  # the view does not match the registry: read everything again


class ViewTrust:
    """The state of the registry behind a view, and how far the view can be trusted."""

    def __init__(self, now: float) -> None:
        self.state = ""  # as the registry reports it: "warming" or "ready"; empty before the first report
        self.live = False  # its stream is up and has sent something
        self.whole = False  # the view matched the registry exactly, as far as known
        self.unread: tuple[str, ...] = ()  # shards of its store that the registry has not read yet
        self.mismatches = 0
        self.heard_at = self.confirmed_at = now
        self._settled_at = -math.inf  # until then a mismatch is expected
        self._store_age_s = 0.0  # age of the registry's own view of its store, as last reported

    def age_s(self, now: float) -> float:
        """Return the seconds since the registry last confirmed the view; 0 while its watch is live."""
        if self.live and self.whole and now - self.heard_at <= SILENT_AFTER_S:
            return max(0.0, self.heard_at - self.confirmed_at)
        return max(0.0, now - self.confirmed_at)

    @property
    def knows_all(self) -> bool:
        """Whether a name that the view lacks does not exist: the registry is complete, and so is the view."""
        return self.whole and self.state == READY and not self.unread

    def confidence(self, freshness: Freshness) -> str:
        """Return how far answers of that age can be trusted: as it says, or `partial` if a fresh one may lack some."""
        return PARTIAL if freshness is Freshness.FRESH and not self.knows_all else freshness.value

    def heard(self, now: float) -> None:
        """Record that the registry sent something."""
        self.heard_at = now

    def taken(self) -> None:
        """Record that a change was applied; it confirms the view if the view is whole."""
        if self.whole:
            self.confirmed_at = self.heard_at - self._store_age_s

    def aged(self, age_s: float, now: float) -> None:
        """Start with a snapshot from the disk that was confirmed `age_s` ago."""
        self.confirmed_at = now - age_s

    def unsettled(self) -> None:
        """Expect a mismatch while a service is being read."""
        self._settled_at = max(self._settled_at, self.heard_at + SETTLE_S)

    # -- snapshots, moves and keepalives

    def may_drop(self, change: Replaced, cursor: Cursor) -> bool:
        """Return whether a view at `cursor` may drop what the snapshot lacks."""
        return change.state == READY and change.whole and not _is_new_history(change, cursor)

    def replaced(self, change: Replaced, cursor: Cursor, *, dropped: bool, whole: bool) -> Advice:
        """Record a snapshot applied at `cursor`; `dropped`: what it lacked was removed. Return what to do."""
        lost_memory = change.state not in (READY, self.state)
        if not dropped:
            self._settled_at = self.heard_at + SETTLE_S
        self.whole, self.state, self.live = whole, change.state, True
        return Advice.REASSERT if lost_memory or _is_new_history(change, cursor) else Advice.NOTHING

    def moved(self, change: Moved, *, whole: bool) -> Advice:
        """Record a move to another history. A view that does not add up is read again later, not at once."""
        self.whole, self.state, self.live = whole, change.state, True
        self._settled_at = -math.inf if whole else self.heard_at + SETTLE_S
        # A write acknowledged just before the move may be missing there: its owner repeats it.
        return Advice.NOTHING if change.is_resumed else Advice.REASSERT

    def synced(self, change: Synced, *, whole: bool) -> Advice:
        """Record a keepalive; `whole`: the view adds up to its digest. Return what to do."""
        lost_memory = change.state != READY and self.state == READY
        became_ready = change.state == READY and self.state != READY
        self.live, self.state, self.unread = True, change.state, change.unread
        if change.store_age_s is None:
            self.whole = False  # the registry has read nothing yet that it could confirm
        else:
            self._store_age_s = max(0.0, change.store_age_s)
            # A replica behind the one we read from cannot tell: the current state stays.
            self.whole = whole if change.digest else self.whole
        if lost_memory:
            return Advice.REASSERT
        if not change.digest:
            return Advice.NOTHING
        # Instances kept through the registry's loss of data are dropped only now that it is complete.
        settled = became_ready or self.heard_at >= self._settled_at
        if self.whole:
            self._settled_at = -math.inf
            return Advice.NOTHING
        if change.state != READY or not settled:
            return Advice.NOTHING
        self._settled_at = self.heard_at + RESYNC_EVERY_S
        self.mismatches += not became_ready
        return Advice.RESYNC


def _is_new_history(change: Replaced, cursor: Cursor) -> bool:
    return any((known := cursor.at(p.shard)) is not None and known.epoch != p.epoch for p in change.cursor.positions)
