"""The recent events of a replica, from which broken streams resume. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from registry_core.domain.events import Position
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import FIRST_PROTOCOL
from registry_core.watch.lines import event_line_of_version_1

BEHIND: Final = "behind"


class HistoryEntry(msgspec.Struct, frozen=True, gc=False):
    """One event, and the replica's `cursor` and catalogue `digest` after it."""

    position: Position
    label: str
    line: bytes
    cursor: Cursor
    digest: int

    def line_of(self, protocol: int) -> bytes:
        """Return the line for a reader of that protocol version."""
        return self.line if protocol > FIRST_PROTOCOL else event_line_of_version_1(self.line, self.cursor, self.digest)


class History:
    """A ring of events, in the order in which this replica received them; bounded in number and bytes."""

    def __init__(self, most_events: int, most_bytes: int) -> None:
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._entries: deque[HistoryEntry] = deque()
        self._bytes = 0
        self.dropped = 0  # events that no longer fit, since the start
        self._trimmed: dict[int, int] = {}  # by shard: the newest revision that was dropped
        self._newest: dict[int, int] = {}  # by shard: the newest revision of all

    @property
    def size(self) -> int:
        """The bytes of its lines."""
        return self._bytes

    def clear(self, cursor: Cursor) -> None:
        """Forget everything; the history now begins at `cursor`."""
        self._entries.clear()
        self._bytes = 0
        self._trimmed = {p.shard: p.revision for p in cursor.positions}
        self._newest = dict(self._trimmed)

    def add(self, entry: HistoryEntry) -> None:
        """Add an event, and drop the oldest ones that no longer fit."""
        self._entries.append(entry)
        self._newest[entry.position.shard] = entry.position.revision
        self._bytes += len(entry.line)
        while len(self._entries) > self._most_events or self._bytes > self._most_bytes:
            old = self._entries.popleft()
            self._bytes -= len(old.line)
            self.dropped += 1
            self._trimmed[old.position.shard] = old.position.revision

    def why_not(self, cursor: Cursor, current: Cursor, protocol: int) -> str | None:
        """Return why a reader at `cursor` cannot resume from this replica at `current`, or None when it can.

        "start": it has seen nothing. "epoch": its history is not ours. "behind": the events that it needs were dropped.
        A reader may be ahead of this replica, having read from another one: it skips what it knows. Readers of
        version 1 cannot do that.
        """
        if not cursor.positions:
            return "start"
        if len(cursor.positions) != len(current.positions):
            return "epoch"
        for now in current.positions:
            seen = cursor.at(now.shard)
            if seen is None or seen.epoch != now.epoch:
                return "epoch"
            if seen.revision > now.revision and protocol <= FIRST_PROTOCOL:
                return "epoch"
            if seen.revision < self._trimmed.get(now.shard, 0):
                return BEHIND
        return None

    def after(self, cursor: Cursor, label: str | None, protocol: int) -> list[bytes]:
        """Return the lines of exactly the events after `cursor`, for one service or for all."""
        seen = {p.shard: p.revision for p in cursor.positions}
        # The latest events come last, and a returning reader lacks few of them: it does not pay for the whole history.
        behind = {shard for shard, newest in self._newest.items() if newest > seen.get(shard, 0)}
        lines: list[bytes] = []
        for entry in reversed(self._entries):
            shard, revision = entry.position.shard, entry.position.revision
            if shard in behind:
                if revision > seen.get(shard, 0):
                    if label in (None, entry.label):
                        lines.append(entry.line_of(protocol))
                else:
                    behind.discard(shard)
            if not behind:
                break
        lines.reverse()
        return lines
