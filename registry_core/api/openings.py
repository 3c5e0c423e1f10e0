"""What a watcher of a replica begins with: everything, or what it missed. Encoded and packed once for all who come.

It sends nothing, and does not know the watchers: the hub asks it for the lines of each.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, TypeAlias

import structlog

from registry_core.api.view import ReplicaView
from registry_core.domain.catalog import Lived
from registry_core.domain.records import InstanceKey
from registry_core.watch.cursor import Cursor
from registry_core.watch.history import BEHIND, History
from registry_core.watch.limits import FIRST_PROTOCOL, PROTOCOL
from registry_core.watch.packing import PackedParts
from registry_core.watch.recent import Beginning, LatestEvents, beginning_of
from registry_core.watch.snapshot import SharedSnapshot

# A new reader shares a snapshot in use if at most this many events followed it, which it then gets as well.
MAX_EVENTS_BEHIND: Final = 1000
# Missed changes of this size are packed for readers that asked for it. Fewer are not worth the time.
PACKED_FROM_BYTES: Final = 16 * 1024
# A snapshot is kept for the readers that come in turn until the hub has ticked this often without another one.
KEPT_TICKS: Final = 2
# Openings of different readers that are kept: those who come back together have a few cursors.
MAX_MISSED: Final = 8

# From where, for which service, in which version of the protocol, up to where.
_Missed: TypeAlias = tuple[Cursor, str | None, int, Cursor]

_log = structlog.get_logger(component="api.hub")


class Openings:
    """The openings of one replica's watchers."""

    def __init__(self, view: ReplicaView, history: History) -> None:
        self._view = view
        self._history = history
        # The snapshot that the latest readers of everything share, while any of them reads it.
        self._shared: weakref.ref[SharedSnapshot] | None = None
        self._kept: SharedSnapshot | None = None
        self._kept_for = 0  # ticks
        self._beginning: Beginning | None = None  # of the history, once there is one
        self._missed: dict[_Missed, tuple[Sequence[bytes], PackedParts]] = {}

    def begin(self, recent: Iterable[LatestEvents] = ()) -> None:
        """Begin anew: the history is another one. `recent`: what changed last before it, if anything is known."""
        self._shared = self._kept = None
        self._missed.clear()
        self._beginning = beginning_of(self._view.catalog, self._view.cursor, recent)

    def why_not(self, cursor: Cursor, protocol: int) -> str | None:
        """Return why a reader at `cursor` must read everything, or None when it is enough to send what it missed."""
        reason = self._history.why_not(cursor, self._view.cursor, protocol)
        return None if reason == BEHIND and self._knows_before(cursor, protocol) else reason

    def _knows_before(self, cursor: Cursor, protocol: int) -> bool:
        start = self._beginning
        return (
            protocol > FIRST_PROTOCOL
            and start is not None
            and start.is_reached_from(cursor)
            and self._history.why_not(start.cursor, self._view.cursor, protocol) is None
        )

    def tick(self) -> None:
        """Give up what no reader has needed for a while."""
        self._missed.clear()
        self._kept_for -= 1
        if self._kept_for <= 0:
            self._kept = None

    def missed(self, cursor: Cursor, label: str | None, protocol: int, *, is_packed: bool) -> Iterator[bytes]:
        """Return the lines of what happened after `cursor`, for one service or for all."""
        what = (cursor, label, protocol, self._view.cursor)
        known = self._missed.get(what)
        if known is None:
            after = self._after(cursor, label, protocol)
            known = self._missed[what] = (after, PackedParts(after))
            if len(self._missed) > MAX_MISSED:
                del self._missed[next(iter(self._missed))]
        lines, parts = known
        return iter(parts) if is_packed and sum(map(len, lines)) >= PACKED_FROM_BYTES else iter(lines)

    def _after(self, cursor: Cursor, label: str | None, protocol: int) -> list[bytes]:
        start = self._beginning
        if start is None or self._history.why_not(cursor, self._view.cursor, protocol) is None:
            return self._history.after(cursor, label, protocol)
        return [start.line_after(cursor, label, self._view.state), *self._history.after(start.cursor, label, protocol)]

    def snapshot(
        self, label: str | None, reason: str, protocol: int, *, is_packed: bool, is_kept: bool
    ) -> Iterator[bytes]:
        """Return the lines of a snapshot as of now; `is_kept` for those who come in turn after this reader."""
        if label is not None:
            catalog = self._view.catalog
            return self._snapshot_of(catalog.lived(label), catalog.digest_of(label)).lines(reason, is_packed=is_packed)
        parts = self._shared_snapshot()
        if is_kept:
            self._kept, self._kept_for = parts, KEPT_TICKS
        since = self.missed(parts.cursor, None, protocol, is_packed=is_packed)
        return chain(parts.lines(reason, is_packed=is_packed), since)

    def _shared_snapshot(self) -> SharedSnapshot:
        """Return the snapshot in use if the events since are few and still in the history; otherwise a new one."""
        shared = self._shared() if self._shared is not None else None
        if shared is None or not self._goes_on_from(shared):
            shared = self._snapshot_of(self._view.catalog.all(), self._view.catalog.digest)
            self._shared = weakref.ref(shared)
        return shared

    def _goes_on_from(self, shared: SharedSnapshot) -> bool:
        now, then = self._view.cursor, shared.cursor
        if shared.state != self._view.state or (now != then and self._history.why_not(then, now, PROTOCOL) is not None):
            return False
        behind = sum(p.revision - seen.revision for p in now.positions if (seen := then.at(p.shard)) is not None)
        return behind <= MAX_EVENTS_BEHIND

    def _snapshot_of(self, instances: tuple[Lived, ...], digest: str) -> SharedSnapshot:
        view = self._view
        return SharedSnapshot(
            instances, state=view.state, cursor=view.cursor, digest=digest, too_large=self._note_too_large
        )

    def _note_too_large(self, key: InstanceKey, size: int) -> None:
        _log.error("record_too_large", service=key.label, instance=key.instance_id, bytes=size, sent=False)
