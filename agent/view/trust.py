"""How far a view can be taken for the registry's: whether it is whole, how old it is, and what to do about it. Pure.

The view's parts add up to the registry's digest, or they do not. A registry that has lost its memory, or that has read
only a part of its store, may add something and take nothing away. Callers pass `now`, a monotonic time.
"""

from __future__ import annotations

import enum
import math
from typing import Final

from registry_core.watch.changes import Moved, Replaced, Synced
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import SYNC_EVERY_S

READY: Final = "ready"
# A stream that misses one sign of life is slow, one that misses two is silent.
SILENT_AFTER_S: Final = 2 * SYNC_EVERY_S
# How long a registry with a new history, but no word of warming up, is given to hear from everybody.
SETTLE_S: Final = 10.0
# Should a snapshot not help (a registry that counts differently), the view goes on by its events for so long.
RESYNC_EVERY_S: Final = 60.0


class Advice(enum.StrEnum):
    """What the agent has to do about a change."""

    NOTHING = "nothing"
    REASSERT = "reassert"  # the registry lost its memory: register again
    RESYNC = "resync"  # the view is not the registry's: read everything anew


class ViewTrust:
    """What is known of the registry behind a view, and how sure the view is."""

    def __init__(self, now: float) -> None:
        self.state = ""  # the registry's word: "warming" or "ready"; nothing before the first
        self.live = False  # its stream is there, and has begun to speak
        self.whole = False  # the view was, as far as can be told, all and only what the registry had
        self.unread: tuple[str, ...] = ()  # the shards of its store that the registry has not read yet
        self.mismatches = 0
        self.heard_at = self.confirmed_at = now
        self._settled_at = -math.inf  # until then it is no surprise that the view does not add up
        self._store_age_s = 0.0  # how old the registry's own view of its store was, by its last word

    def age_s(self, now: float) -> float:
        """Return the seconds since the registry last confirmed the view; 0 while its watch is live."""
        if self.live and self.whole and now - self.heard_at <= SILENT_AFTER_S:
            return max(0.0, self.heard_at - self.confirmed_at)
        return max(0.0, now - self.confirmed_at)

    @property
    def knows_all(self) -> bool:
        """Whether a name that is missing is missing at a registry that knows everybody."""
        return self.whole and self.state == READY and not self.unread

    def heard(self, now: float) -> None:
        """Something came from the registry."""
        self.heard_at = now

    def taken(self) -> None:
        """What came has been taken into the view: while that is whole, it is confirmed by it."""
        if self.whole:
            self.confirmed_at = self.heard_at - self._store_age_s

    def aged(self, age_s: float, now: float) -> None:
        """The view begins with what was kept on a disk, `age_s` ago."""
        self.confirmed_at = now - age_s

    def unsettled(self) -> None:
        """Something is being read that the view lacks until then."""
        self._settled_at = max(self._settled_at, self.heard_at + SETTLE_S)

    # -- snapshots, moves and signs of life

    def may_drop(self, change: Replaced, cursor: Cursor) -> bool:
        """Return whether what a snapshot lacks is gone, for a view that stands at `cursor`."""
        return change.state == READY and change.whole and not _is_new_history(change, cursor)

    def replaced(self, change: Replaced, cursor: Cursor, *, dropped: bool, whole: bool) -> Advice:
        """Everything was read, by a view that stood at `cursor`; `dropped`: and what was missing was taken out."""
        lost_memory = change.state not in (READY, self.state)
        if not dropped:
            self._settled_at = self.heard_at + SETTLE_S
        self.whole, self.state, self.live = whole, change.state, True
        return Advice.REASSERT if lost_memory or _is_new_history(change, cursor) else Advice.NOTHING

    def moved(self, change: Moved, *, whole: bool) -> Advice:
        """The history goes on elsewhere. A view that does not add up then reads everything anew, but not at once."""
        self.whole, self.state, self.live = whole, change.state, True
        self._settled_at = -math.inf if whole else self.heard_at + SETTLE_S
        # A write that was acknowledged just before may still be missing there: its owner says it again.
        return Advice.REASSERT

    def synced(self, change: Synced, *, whole: bool) -> Advice:
        """A sign of life came; `whole`: the view adds up to its digest."""
        lost_memory = change.state != READY and self.state == READY
        became_ready = change.state == READY and self.state != READY
        self.live, self.state, self.unread = True, change.state, change.unread
        if change.store_age_s is None:
            self.whole = False  # it has read nothing yet that it could confirm
        else:
            self._store_age_s = max(0.0, change.store_age_s)
            # A replica that is behind what was read from another one cannot tell: what is known stays.
            self.whole = whole if change.digest else self.whole
        if lost_memory:
            return Advice.REASSERT
        if not change.digest:
            return Advice.NOTHING
        # What was kept over the registry's loss of memory is dropped only now, when it knows everybody.
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
