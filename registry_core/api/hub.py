"""The watch hub: the recent history of the view, and who is being told of it.

Each event is encoded once; its bytes go into a bounded ring, from which broken streams resume, and
into the bounded queue of each watcher. A watcher whose queue overflows is "lagged": what it missed is
dropped, and it gets a new snapshot when it reads again. The hub does no I/O: `watch.py` asks a
watcher for bytes and sends them.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final

import msgspec

from registry_core.api.view import ReplicaView
from registry_core.domain.catalog import Lived
from registry_core.domain.events import Deregistered, Event, Expired, Position, Registered, Renewed
from registry_core.errors import Overloaded
from registry_core.watch.cursor import Cursor
from registry_core.watch.lines import Removal, Renewal, event_line, moved_line, renewed_lines, snapshot_lines, sync_line

# What is handed to a connection at a time; a snapshot is encoded only as fast as it is read.
BATCH_BYTES: Final = 64 * 1024
_NOTHING: Final = Cursor()


class HubLimits(msgspec.Struct, frozen=True):
    """What the hub may hold."""

    history_events: int = 10_000
    history_bytes: int = 32 * 1024 * 1024
    watchers: int = 20_000
    queue_lines: int = 4096


class HistoryEntry(msgspec.Struct, frozen=True, gc=False):
    """One event of the ring."""

    position: Position
    label: str
    line: bytes


class History:
    """The ring of recent events, in the order in which this replica learned of them."""

    def __init__(self, limits: HubLimits) -> None:
        self._limits = limits
        self._entries: deque[HistoryEntry] = deque()
        self._bytes = 0
        self._trimmed: dict[int, int] = {}  # by shard: the newest revision that is no longer kept

    def clear(self, cursor: Cursor) -> None:
        """Forget everything; history begins at `cursor`."""
        self._entries.clear()
        self._bytes = 0
        self._trimmed = {p.shard: p.revision for p in cursor.positions}

    def add(self, entry: HistoryEntry) -> None:
        """Keep one more event, and as many of the older ones as there is room for."""
        self._entries.append(entry)
        self._bytes += len(entry.line)
        while len(self._entries) > self._limits.history_events or self._bytes > self._limits.history_bytes:
            old = self._entries.popleft()
            self._bytes -= len(old.line)
            self._trimmed[old.position.shard] = old.position.revision

    def why_not(self, cursor: Cursor, current: Cursor) -> str | None:
        """Return why a reader at `cursor` cannot be resumed, or None when it can.

        "start": it has seen nothing. "epoch": it stands in a history that is not ours. "behind": what
        it needs is kept no longer.
        """
        if not cursor.positions:
            return "start"
        if len(cursor.positions) != len(current.positions):
            return "epoch"
        for now in current.positions:
            seen = cursor.at(now.shard)
            if seen is None or seen.epoch != now.epoch or seen.revision > now.revision:
                return "epoch"
            if seen.revision < self._trimmed.get(now.shard, 0):
                return "behind"
        return None

    def after(self, cursor: Cursor, label: str | None) -> list[bytes]:
        """Return the lines of exactly the events after `cursor`, of one service or of all."""
        seen = {p.shard: p.revision for p in cursor.positions}
        return [
            entry.line
            for entry in self._entries
            if entry.position.revision > seen.get(entry.position.shard, 0) and label in (None, entry.label)
        ]


class Watcher:
    """One reader of the stream: what it is still to be sent, in order.

    One with an `id` acknowledges what it has taken; `acknowledged` is how far, and `connected` tells whether
    it is still there: who is gone is noticed for good only when it is written to.
    """

    def __init__(
        self,
        hub: WatchHub,
        label: str | None,
        *,
        renewals: bool,
        opening: Iterator[bytes],
        id: str = "",  # noqa: A002 - the field's name; the builtin is of no use here
        acknowledged: Cursor = _NOTHING,
        connected: Callable[[], bool] = lambda: True,
    ) -> None:
        self.label = label
        self.renewals = renewals
        self.id = id
        self.acknowledged = acknowledged
        self.connected = connected
        self.closed = False
        self._hub = hub
        self._opening: Iterator[bytes] | None = opening
        self._queue: deque[bytes] = deque()
        self.owes: str | None = None  # why a new snapshot is due, once this one has been sent
        self._wake = asyncio.Event()

    def put(self, line: bytes) -> None:
        """Queue a line; when there is no room, give up on the queue and owe a snapshot instead."""
        if self.owes is not None:
            return
        if len(self._queue) >= self._hub.limits.queue_lines:
            self._owe("lagged")
        else:
            self._queue.append(line)
            self._wake.set()

    def restart(self) -> None:
        """Drop all that was to be sent: it is of a history that is over."""
        self._opening = None
        self._owe("epoch")

    def _owe(self, reason: str) -> None:
        self._queue.clear()
        self.owes = reason
        self._wake.set()

    def take(self) -> bytes:
        """Return what is to be sent now, bounded in size; empty when there is nothing."""
        taken: list[bytes] = []
        size = 0
        while size < BATCH_BYTES:
            line = self._next()
            if line is None:
                break
            taken.append(line)
            size += len(line)
        return b"".join(taken)

    def _next(self) -> bytes | None:
        if self._opening is not None:
            line = next(self._opening, None)
            if line is not None:
                return line
            self._opening = None
        if self.owes is not None:
            self._opening, self.owes = self._hub.snapshot(self.label, self.owes), None
            return next(self._opening)
        return self._queue.popleft() if self._queue else None

    async def wait(self, timeout_s: float) -> None:
        """Return when there may be something to take, or when it was closed.

        Raises TimeoutError when nothing came: not even the sign of life that is due.
        """
        if not self._queue and self.owes is None and not self.closed:
            self._wake.clear()
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()

    def close(self) -> None:
        """Have the stream end, at once."""
        self.closed = True
        self._wake.set()


class WatchHub:
    """Tells all watchers what happens to `view`."""

    def __init__(self, view: ReplicaView, limits: HubLimits | None = None) -> None:
        self.limits = limits if limits is not None else HubLimits()
        self._view = view
        self._history = History(self.limits)
        self.watchers: set[Watcher] = set()
        self._by_id: dict[str, Watcher] = {}
        self._renewed: dict[str, dict[str, Renewal]] = {}  # by label and instance id
        self._closed = False
        view.subscribe(self)

    def __len__(self) -> int:
        """The number of watchers."""
        return len(self.watchers)

    def open(
        self,
        cursor: Cursor,
        *,
        label: str | None = None,
        renewals: bool = False,
        watcher_id: str = "",
        connected: Callable[[], bool] = lambda: True,
    ) -> Watcher:
        """Add a watcher that has seen everything up to `cursor`; with an id it is going to acknowledge.

        Raises Overloaded when there are too many, or when the replica is closing.
        """
        if self._closed or len(self.watchers) >= self.limits.watchers:
            raise Overloaded("this replica takes no more watchers", retry_after_s=1.0)
        reason = self._history.why_not(cursor, self._view.cursor)
        if reason is not None:
            opening = self.snapshot(label, reason)
        else:
            renewed = self._renewed_lines(label) if renewals else []
            opening = iter([*self._history.after(cursor, label), *renewed, self._sync(label)])
        # Who is resumed says by its cursor what it has taken; a snapshot has to be acknowledged first.
        seen = cursor if reason is None else _NOTHING
        watcher = Watcher(
            self,
            label,
            renewals=renewals,
            opening=opening,
            id=watcher_id,
            acknowledged=seen,
            connected=connected,
        )
        self.watchers.add(watcher)
        if watcher_id:
            self._by_id[watcher_id] = watcher
        return watcher

    def acknowledge(self, watcher_id: str, cursor: Cursor) -> bool:
        """Take note that a watcher has taken all up to `cursor`; return False when it is not one of ours."""
        watcher = self._by_id.get(watcher_id)
        if watcher is None:
            return False
        if not watcher.acknowledged.covers(cursor):  # a word that was overtaken takes nothing back
            watcher.acknowledged = cursor
        return True

    def acknowledgements(self, label: str, cursor: Cursor) -> tuple[int, int]:
        """Return how many acknowledging watchers follow a service, and how many of them have taken up to `cursor`."""
        # Most of them stand at the same few places: 20,000 are counted in milliseconds.
        standing = Counter(
            watcher.acknowledged
            for watcher in self._by_id.values()
            if (watcher.label is None or watcher.label == label) and watcher.connected()
        )
        return standing.total(), sum(count for seen, count in standing.items() if seen.covers(cursor))

    def leave(self, watcher: Watcher) -> None:
        """Remove a watcher. Removing it again does nothing."""
        self.watchers.discard(watcher)
        self._by_id.pop(watcher.id, None)

    def snapshot(self, label: str | None, reason: str) -> Iterator[bytes]:
        """Return the lines of everything as it is at this moment, and a sign of life."""
        view = self._view
        catalog = view.catalog
        if label is None:
            instances, digest = catalog.all(), catalog.digest
        else:
            instances, digest = catalog.lived(label), catalog.digest_of(label)
        parts = snapshot_lines(instances, reason=reason, state=view.state, cursor=view.cursor, digest=digest)
        return chain(parts, [self._sync(label)])

    def tick(self) -> None:
        """Send everybody the renewals that were gathered, where wanted, and a sign of life."""
        whole_sync, part_sync = self._sync(None), self._sync("")
        whole_renewed: list[bytes] | None = None
        for watcher in self.watchers:
            if watcher.renewals:
                if watcher.label is not None:
                    renewed = self._renewed_lines(watcher.label)
                else:
                    whole_renewed = renewed = self._renewed_lines(None) if whole_renewed is None else whole_renewed
                for line in renewed:
                    watcher.put(line)
            watcher.put(whole_sync if watcher.label is None else part_sync)
        self._renewed.clear()

    def close(self) -> None:
        """End every stream, and take no new ones."""
        self._closed = True
        for watcher in self.watchers:
            watcher.close()

    # -- what the view says

    def on_event(self, event: Event, service_name: str) -> None:
        """Pass an event on to all whom it concerns; gather renewals for the next tick."""
        label, instance_id = event.key.label, event.key.instance_id
        if isinstance(event, Renewed):
            self._renewed.setdefault(label, {})[instance_id] = (service_name, instance_id, event.heartbeat_at)
            return
        if isinstance(event, Deregistered | Expired) and label in self._renewed:
            self._renewed[label].pop(instance_id, None)
        catalog = self._view.catalog
        line = event_line(
            event, service_name, self._view.cursor, digest=catalog.digest, count=catalog.instance_count(label)
        )
        self._history.add(HistoryEntry(event.position, label, line))
        for watcher in self.watchers:
            if watcher.label is None or watcher.label == label:
                watcher.put(line)

    def on_moved(self, differences: Sequence[Event]) -> None:
        """Begin a new history, and tell what differs from the old one, not everything.

        What is missing was taken out in the history that leads now: a store that does not know that resets the view.
        """
        catalog = self._view.catalog
        changed = [Lived(e.instance, e.heartbeat_at) for e in differences if isinstance(e, Registered)]
        gone = [event.key for event in differences if isinstance(event, Deregistered | Expired)]
        for key in gone:
            self._renewed.get(key.label, {}).pop(key.instance_id, None)
        removed = [(key.label, key.instance_id, catalog.instance_count(key.label)) for key in gone]
        self._history.clear(self._view.cursor)
        whole = self._moved(changed, removed, None)
        for watcher in self.watchers:
            if watcher.label is None:
                watcher.put(whole)
            else:
                part = [lived for lived in changed if lived.instance.key.label == watcher.label]
                less = [row for row in removed if row[0] == watcher.label]
                watcher.put(self._moved(part, less, watcher.label))

    def _moved(self, changed: list[Lived], removed: list[Removal], label: str | None) -> bytes:
        view, digest = self._view, self._digest(label)
        return moved_line(changed, state=view.state, cursor=view.cursor, digest=digest, removed=removed)

    def on_reset(self) -> None:
        """Begin a new history. Whoever reads now is told everything anew."""
        self._history.clear(self._view.cursor)
        self._renewed.clear()
        for watcher in self.watchers:
            watcher.restart()

    def _renewed_lines(self, label: str | None) -> list[bytes]:
        if label is not None:
            return renewed_lines(self._renewed.get(label, {}).values())
        return renewed_lines(chain.from_iterable(part.values() for part in self._renewed.values()))

    def _digest(self, label: str | None) -> str:
        return self._view.catalog.digest if label is None else ""

    def _sync(self, label: str | None) -> bytes:
        view = self._view
        return sync_line(view.cursor, digest=self._digest(label), state=view.state, store_age_s=view.store_age_s())
