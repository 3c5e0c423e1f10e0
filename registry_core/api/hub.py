"""The watch hub: the watchers of this replica, and what each of them gets.

An event is encoded once; its bytes go into the history, from which broken streams resume, and to each watcher. The
form of the stream is defined in `registry_core/watch/`. The hub does no I/O: `watch.py` sends what a reader needs for
itself, and `fanout.py` writes what all get.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

import msgspec

from registry_core.api.fanout import Fanout
from registry_core.api.openings import Openings
from registry_core.api.snapshot_turns import AT_ONCE, MAX_WAITING
from registry_core.api.view import ReplicaView
from registry_core.api.watch_counts import WatchCounts
from registry_core.api.watcher import Watcher, WatcherKind
from registry_core.domain.catalog import Lived
from registry_core.domain.events import Deregistered, Event, Expired, Registered, Renewed
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
    goodbye_line,
    moved_line,
    renewed_lines,
    sync_line_of_version_1,
)
from registry_core.watch.outbox import Outbox
from registry_core.watch.recent import LatestEvents

_NOTHING: Final = Cursor()


class HubLimits(msgspec.Struct, frozen=True):
    """The limits of the hub."""

    history_events: int = 10_000
    history_bytes: int = 32 * 1024 * 1024
    watchers: int = 20_000
    # What is kept for slow readers: so much for all that get the same lines, not for each.
    queue_lines: int = 4096
    queue_bytes: int = 32 * 1024 * 1024
    # Readers that get a snapshot of everything at a time, and those that wait for their turn.
    openings_at_once: int = AT_ONCE
    openings_waiting: int = MAX_WAITING


class WatchHub:
    """Sends the changes of `view` to all watchers."""

    def __init__(self, view: ReplicaView, limits: HubLimits | None = None, counts: WatchCounts | None = None) -> None:
        self.limits = limits if limits is not None else HubLimits()
        self.counts = counts if counts is not None else WatchCounts()
        self._view = view
        self.history = History(self.limits.history_events, self.limits.history_bytes)
        self.openings = Openings(view, self.history)
        self.watchers: set[Watcher] = set()
        # `stand_by` is for the tasks of connections.
        self.fanout = Fanout(self.counts, most_lines=self.limits.queue_lines, most_bytes=self.limits.queue_bytes)
        self._by_id: dict[str, Watcher] = {}
        self._renewed: dict[str, dict[str, Heartbeat]] = {}  # by label and instance id
        self._renewal_readers: set[Watcher] = set()
        self._digest = view.catalog.digest_number
        self._at = view.cursor  # up to where readers were sent what happened
        self._told = _NOTHING  # the cursor of the last sign of life
        self._closed = False
        self._at_close: list[Callable[[], None]] = []
        view.subscribe(self, renewals=True)

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
        is_packed: bool = False,
        in_turn: bool = False,
        watcher_id: str = "",
        connected: Callable[[], bool] = lambda: True,
    ) -> Watcher:
        """Add a watcher that has seen everything up to `cursor`; one with an id will acknowledge.

        Its snapshots are packed if `is_packed`. With `in_turn`, it is owed the one that it begins with.

        Raises Overloaded when there are too many watchers, or the replica is closing.
        """
        if self._closed or len(self.watchers) >= self.limits.watchers:
            raise Overloaded("this replica takes no more watchers", retry_after_s=1.0)
        reason = self.openings.why_not(cursor, protocol)
        if reason is not None:
            opening: Iterator[bytes] = (
                iter(()) if in_turn else self.snapshot(label, reason, protocol, is_packed=is_packed)
            )
        else:
            renewed = self._renewed_lines(label) if renewals and protocol == FIRST_PROTOCOL else []
            sync = self._sync(label, protocol)
            opening = chain(self.openings.missed(cursor, label, protocol, is_packed=is_packed), renewed, [sync])
        # From version 2 on, the sign of life covers renewals, whatever the reader asks for.
        kind = WatcherKind(label, protocol, renewals and protocol == FIRST_PROTOCOL)
        watcher = Watcher(
            Outbox(
                opening,
                lambda again: self.snapshot(label, again, protocol, is_packed=is_packed, is_kept=in_turn),
                self.fanout.audience(kind).feed,
                owes=reason if in_turn else None,
            ),
            kind,
            id=watcher_id,
            # The cursor of a resumed watcher says what it has applied; a snapshot must be acknowledged first.
            acknowledged=cursor if reason is None else _NOTHING,
            began_at=cursor if reason is None else _NOTHING,
            connected=connected,
        )
        self.watchers.add(watcher)
        self.fanout.enter(watcher)
        if kind.renewals:
            self._renewal_readers.add(watcher)
        if watcher_id:
            self._by_id[watcher_id] = watcher
        return watcher

    def acknowledge(self, watcher_id: str, cursor: Cursor) -> bool:
        """Note that a watcher has applied everything up to `cursor`; return False when it is not one of ours."""
        watcher = self._by_id.get(watcher_id)
        if watcher is None:
            return False
        if not watcher.acknowledged.covers(cursor):  # an overtaken acknowledgement takes nothing back
            watcher.acknowledged = cursor
        return True

    def reported(self, watcher_id: str, agent_id: str) -> bool:
        """Note which agent is behind a watcher; return False when it is another one."""
        watcher = self._by_id.get(watcher_id)
        if watcher is None:
            return False
        watcher.agent_id = watcher.agent_id or agent_id
        return watcher.agent_id == agent_id

    def unreported(self) -> Iterator[Watcher]:
        """Return the acknowledging watchers that have never reported."""
        return (one for one in self._by_id.values() if not one.agent_id)

    def acknowledgements(self, label: str, cursor: Cursor) -> tuple[int, int]:
        """Return how many acknowledging watchers follow a service, and how many of them have reached `cursor`."""
        # Most of them are at the same few cursors: 20,000 are counted in milliseconds.
        standing = Counter(
            watcher.acknowledged
            for watcher in self._by_id.values()
            if watcher.kind.is_told_of(label) and watcher.connected()
        )
        return standing.total(), sum(count for seen, count in standing.items() if seen.covers(cursor))

    def sent(self, watcher: Watcher, octets: int) -> None:
        """Note that what a watcher's own task has taken was written to its connection."""
        self.counts.sent(octets, watcher.arrived())

    def behind(self) -> int:
        """Return how many readers have not got a change that came over a second ago."""
        return self.fanout.behind()

    def leave(self, watcher: Watcher) -> None:
        """Remove a watcher. Removing it again does nothing."""
        self.watchers.discard(watcher)
        self.fanout.leave(watcher)
        self._renewal_readers.discard(watcher)
        self._by_id.pop(watcher.id, None)

    def snapshot(
        self,
        label: str | None,
        reason: str,
        protocol: int = PROTOCOL,
        *,
        is_packed: bool = False,
        is_kept: bool = False,
    ) -> Iterator[bytes]:
        """Return the lines of a snapshot as of now, and a sign of life; `is_kept` for those who come in turn after."""
        self.counts.snapshots[reason] += 1
        lines = self.openings.snapshot(label, reason, protocol, is_packed=is_packed, is_kept=is_kept)
        return chain(lines, [self._sync(label, protocol)])

    def tick(self) -> None:
        """Send all watchers a sign of life, and the gathered renewals to readers of version 1."""
        news = self._view.cursor != self._told
        for audience in self.fanout:
            label, protocol = audience.kind.label, audience.kind.protocol
            for line in self._renewed_lines(label) if audience.kind.renewals else ():
                self.fanout.put(audience, line)
            self.fanout.put(audience, self._sync(label, protocol, news=news))
        self._told = self._view.cursor
        self._renewed.clear()
        self.openings.tick()

    @property
    def closed(self) -> bool:
        """Whether the hub accepts no more watchers, because its replica stops."""
        return self._closed

    def at_close(self, call: Callable[[], None]) -> None:
        """Call this as soon as the hub is closed."""
        self._at_close.append(call)

    def close(self, replicas: Iterable[str] = ()) -> None:
        """Send every reader on, to one of these `replicas`, end every stream, and accept no new ones."""
        self._closed = True
        farewell = goodbye_line(len(self.watchers), replicas)
        for watcher in self.watchers:
            watcher.close(farewell)
        for call in self._at_close:
            call()

    # -- changes of the view

    def on_event(self, event: Event, service_name: str) -> None:
        """Pass an event on to the watchers of its service; gather renewals for the next tick."""
        if isinstance(event, Renewed) and not self._renewal_readers:
            return
        key = event.key
        label, instance_id = key.label, key.instance_id
        if isinstance(event, Renewed):
            self._renewed.setdefault(label, {})[instance_id] = (service_name, instance_id, event.heartbeat_at)
            return
        if isinstance(event, Deregistered | Expired) and label in self._renewed:
            self._renewed[label].pop(instance_id, None)
        catalog, cursor = self._view.catalog, self._view.cursor
        digest, before = catalog.digest_number, self._digest
        self._digest, self._at = digest, cursor
        line = event_line(event, service_name, change=digest ^ before, count=catalog.instance_count(label))
        self.history.add(HistoryEntry(event.position, label, line, cursor, digest))
        at = self.counts.changed(is_read=bool(self.watchers))
        line_of_version_1: bytes | None = None
        for audience in self.fanout.of_service(label):
            if audience.kind.protocol > FIRST_PROTOCOL:
                self.fanout.put(audience, line)
            else:
                if line_of_version_1 is None:
                    line_of_version_1 = event_line_of_version_1(line, cursor, digest)
                self.fanout.put(audience, line_of_version_1)
            if at is not None:
                audience.follow(at)

    def on_moved(self, differences: Sequence[Event]) -> None:
        """Begin a new history, and send the differences from the old one, not everything.

        Missing instances were removed in the new history: a store that cannot be sure resets the view instead.
        """
        before = self._at
        self._begin()
        self.counts.events += len(differences)
        catalog = self._view.catalog
        changed = [Lived(e.instance, e.heartbeat_at) for e in differences if isinstance(e, Registered)]
        gone = [event.key for event in differences if isinstance(event, Deregistered | Expired)]
        for key in gone:
            self._renewed.get(key.label, {}).pop(key.instance_id, None)
        removed = [(key.label, key.instance_id, catalog.instance_count(key.label)) for key in gone]
        for audience in self.fanout:
            label = audience.kind.label
            line = self._moved(
                [lived for lived in changed if label in (None, lived.instance.key.label)],
                [row for row in removed if label in (None, row[0])],
                label,
            )
            if len(line) > MAX_LINE_BYTES:
                audience.restart()  # too many changes for one line: send a snapshot
                continue
            self.fanout.put(audience, line)
            for watcher in audience:
                if not before.covers(watcher.began_at):
                    watcher.restart()  # it is ahead of what the differences are from: it has read elsewhere

    def _moved(self, changed: Iterable[Lived], removed: Iterable[Removal], label: str | None) -> bytes:
        view, digest = self._view, self._digest_of(label)
        return moved_line(changed, state=view.state, cursor=view.cursor, digest=digest, removed=removed)

    def on_reset(self) -> None:
        """Begin a new history. Every reader gets a snapshot."""
        self._begin(self._view.recent)
        self._renewed.clear()
        for audience in self.fanout:
            audience.restart()

    def _begin(self, recent: Iterable[LatestEvents] = ()) -> None:
        self.history.clear(self._view.cursor)
        self._digest, self._at = self._view.catalog.digest_number, self._view.cursor
        self.openings.begin(recent)

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
