"""The watch hub: who follows this replica, and what each of them is sent.

An event is encoded once; its bytes go into the history, from which broken streams go on, and to each watcher. What a
reader is sent, and in which form, stands in `registry_core/watch/`; the hub does no I/O either: `watch.py` asks a
watcher for bytes and sends them.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

import msgspec
import structlog

from registry_core.api.view import ReplicaView
from registry_core.domain.catalog import Lived
from registry_core.domain.events import Deregistered, Event, Expired, Registered, Renewed
from registry_core.domain.records import InstanceKey
from registry_core.errors import Overloaded
from registry_core.watch.cursor import Cursor
from registry_core.watch.history import History, HistoryEntry
from registry_core.watch.limits import FIRST_PROTOCOL, MAX_LATE, MAX_LINE_BYTES, MAX_UNREAD, PROTOCOL
from registry_core.watch.lines import (
    Heartbeat,
    Removal,
    SyncLine,
    encoded,
    event_line,
    event_line_of_version_1,
    moved_line,
    renewed_lines,
    sync_line_of_version_1,
)
from registry_core.watch.outbox import Outbox
from registry_core.watch.snapshot import SharedSnapshot

_NOTHING: Final = Cursor()
# A snapshot that others read is shared with a newcomer, who is sent the events since then: so many at most.
MAX_EVENTS_BEHIND: Final = 1000

_log = structlog.get_logger(component="api.hub")


class HubLimits(msgspec.Struct, frozen=True):
    """What the hub may hold."""

    history_events: int = 10_000
    history_bytes: int = 32 * 1024 * 1024
    watchers: int = 20_000
    queue_lines: int = 4096


class Watcher:
    """One reader of the stream, and its outbox.

    One with an `id` acknowledges what it has taken; `acknowledged` is how far, and `connected` tells whether
    it is still there: who is gone is noticed for good only when it is written to.
    """

    def __init__(
        self,
        outbox: Outbox,
        label: str | None,
        *,
        protocol: int,
        renewals: bool,
        id: str = "",  # noqa: A002 - the field's name; the builtin is of no use here
        acknowledged: Cursor = _NOTHING,
        connected: Callable[[], bool] = lambda: True,
    ) -> None:
        self.label = label
        self.protocol = protocol
        # Of version 2 on a sign of life says it all, whatever is asked for.
        self.renewals = renewals and protocol == FIRST_PROTOCOL
        self.id = id
        self.acknowledged = acknowledged
        self.connected = connected
        self.closed = False
        self.outbox = outbox
        self._wake = asyncio.Event()

    def put(self, line: bytes) -> None:
        """Queue a line."""
        if self.outbox.put(line):
            self._wake.set()

    def restart(self) -> None:
        """Have everything told anew."""
        self.outbox.restart()
        self._wake.set()

    def take(self) -> bytes:
        """Return what is to be sent now, bounded in size; empty when there is nothing."""
        return self.outbox.take()

    async def wait(self, timeout_s: float) -> None:
        """Return when there may be something to take, or when it was closed.

        Raises TimeoutError when nothing came: not even the sign of life that is due.
        """
        if not self.outbox.waiting and not self.closed:
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
        self._history = History(self.limits.history_events, self.limits.history_bytes)
        self.watchers: set[Watcher] = set()
        self._by_id: dict[str, Watcher] = {}
        self._renewed: dict[str, dict[str, Heartbeat]] = {}  # by label and instance id
        self._digest = view.catalog.digest_number
        self._told = _NOTHING  # the cursor of the last sign of life
        # What the latest readers of everything are reading, while any of them is.
        self._shared: weakref.ref[SharedSnapshot] | None = None
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
        protocol: int = PROTOCOL,
        renewals: bool = False,
        watcher_id: str = "",
        connected: Callable[[], bool] = lambda: True,
    ) -> Watcher:
        """Add a watcher that has seen everything up to `cursor`; with an id it is going to acknowledge.

        Raises Overloaded when there are too many, or when the replica is closing.
        """
        if self._closed or len(self.watchers) >= self.limits.watchers:
            raise Overloaded("this replica takes no more watchers", retry_after_s=1.0)
        reason = self._history.why_not(cursor, self._view.cursor, protocol)
        if reason is not None:
            opening = self.snapshot(label, reason, protocol)
        else:
            renewed = self._renewed_lines(label) if renewals and protocol == FIRST_PROTOCOL else []
            sync = self._sync(label, protocol)
            opening = iter([*self._history.after(cursor, label, protocol), *renewed, sync])
        watcher = Watcher(
            Outbox(opening, lambda again: self.snapshot(label, again, protocol), self.limits.queue_lines),
            label,
            protocol=protocol,
            renewals=renewals,
            id=watcher_id,
            # Who is resumed says by its cursor what it has taken; a snapshot has to be acknowledged first.
            acknowledged=cursor if reason is None else _NOTHING,
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

    def snapshot(self, label: str | None, reason: str, protocol: int = PROTOCOL) -> Iterator[bytes]:
        """Return the lines of everything as it is at this moment, and a sign of life."""
        if label is not None:
            parts = self._snapshot_of(self._view.catalog.lived(label), self._view.catalog.digest_of(label))
            return chain(parts.lines(reason), [self._sync(label, protocol)])
        parts = self._shared_snapshot()
        since = self._history.after(parts.cursor, None, protocol)
        return chain(parts.lines(reason), since, [self._sync(None, protocol)])

    def _shared_snapshot(self) -> SharedSnapshot:
        """Return what others are reading, if the events since then are few and still here; else a new one."""
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

    def tick(self) -> None:
        """Send everybody a sign of life, and to readers of version 1 the renewals that were gathered."""
        lines: dict[tuple[str | None, int], bytes] = {}
        renewed: dict[str | None, list[bytes]] = {}
        news = self._view.cursor != self._told
        for watcher in self.watchers:
            label = watcher.label
            if watcher.renewals:
                if label not in renewed:
                    renewed[label] = self._renewed_lines(label)
                for line in renewed[label]:
                    watcher.put(line)
            kind = (label, watcher.protocol)
            if kind not in lines:
                lines[kind] = self._sync(label, watcher.protocol, news=news)
            watcher.put(lines[kind])
        self._told = self._view.cursor
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
        catalog, cursor = self._view.catalog, self._view.cursor
        digest, before = catalog.digest_number, self._digest
        self._digest = digest
        line = event_line(event, service_name, change=digest ^ before, count=catalog.instance_count(label))
        self._history.add(HistoryEntry(event.position, label, line, cursor, digest))
        line_of_version_1: bytes | None = None
        for watcher in self.watchers:
            if watcher.label is not None and watcher.label != label:
                continue
            if watcher.protocol > FIRST_PROTOCOL:
                watcher.put(line)
                continue
            if line_of_version_1 is None:
                line_of_version_1 = event_line_of_version_1(line, cursor, digest)
            watcher.put(line_of_version_1)

    def on_moved(self, differences: Sequence[Event]) -> None:
        """Begin a new history, and tell what differs from the old one, not everything.

        What is missing was taken out in the history that leads now: a store that does not know that resets the view.
        """
        self._begin()
        catalog = self._view.catalog
        changed = [Lived(e.instance, e.heartbeat_at) for e in differences if isinstance(e, Registered)]
        gone = [event.key for event in differences if isinstance(event, Deregistered | Expired)]
        for key in gone:
            self._renewed.get(key.label, {}).pop(key.instance_id, None)
        removed = [(key.label, key.instance_id, catalog.instance_count(key.label)) for key in gone]
        lines: dict[str | None, bytes] = {}
        for watcher in self.watchers:
            label = watcher.label
            if label not in lines:
                lines[label] = self._moved(
                    [lived for lived in changed if label in (None, lived.instance.key.label)],
                    [row for row in removed if label in (None, row[0])],
                    label,
                )
            if len(lines[label]) > MAX_LINE_BYTES:
                watcher.restart()  # so much has changed that everything is told in parts
            else:
                watcher.put(lines[label])

    def _moved(self, changed: Iterable[Lived], removed: Iterable[Removal], label: str | None) -> bytes:
        view, digest = self._view, self._digest_of(label)
        return moved_line(changed, state=view.state, cursor=view.cursor, digest=digest, removed=removed)

    def on_reset(self) -> None:
        """Begin a new history. Each reader is told everything anew."""
        self._begin()
        self._renewed.clear()
        for watcher in self.watchers:
            watcher.restart()

    def _begin(self) -> None:
        self._history.clear(self._view.cursor)
        self._digest = self._view.catalog.digest_number
        self._shared = None

    # -- lines

    def _renewed_lines(self, label: str | None) -> list[bytes]:
        if label is not None:
            return renewed_lines(self._renewed.get(label, {}).values())
        return renewed_lines(chain.from_iterable(part.values() for part in self._renewed.values()))

    def _digest_of(self, label: str | None) -> str:
        return self._view.catalog.digest if label is None else ""

    def _sync(self, label: str | None, protocol: int, *, news: bool = True) -> bytes:
        view, store = self._view, self._view.store()
        digest = self._digest_of(label)
        if protocol == FIRST_PROTOCOL:
            age_s = 0.0 if store.age_s is None else store.age_s
            return sync_line_of_version_1(view.cursor, digest=digest, state=view.state, store_age_s=age_s)
        late, late_total = view.late(MAX_LATE, label)
        return encoded(
            SyncLine(
                cursor=str(view.cursor) if news else "",
                digest=digest,
                state=view.state,
                store_age_s=None if store.age_s is None else round(store.age_s, 3),
                late_after_s=view.late_after_s,
                late=late,
                late_total=late_total,
                unread=store.unread[:MAX_UNREAD],
            )
        )

    def _note_too_large(self, key: InstanceKey, size: int) -> None:
        _log.error("record_too_large", service=key.label, instance=key.instance_id, bytes=size, sent=False)
