"""Keeps in mind which instances the latest events of a shard were about, also those from before this replica began."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from registry_core.domain.events import Position
from registry_core.domain.records import InstanceKey
from registry_core.store.redis import rows
from registry_core.store.redis.link import Link
from registry_core.store.redis.pages import one
from registry_core.watch.recent import MAX_RECENT, LatestEvents

# Entries of one answer of the server: about 1 ms of our time.
READ_EVENTS: Final = 250


class RecentKeys:
    """The latest events of one shard."""

    def __init__(self) -> None:
        self._last = Position(0, "", 0)
        self._since = 0
        self._changed: deque[tuple[int, InstanceKey]] = deque()

    def __len__(self) -> int:
        """The number of events."""
        return len(self._changed)

    async def read(self, link: Link, prefix: str, last: Position) -> None:
        """Begin anew with what the stream still has, up to `last`. Raises what redis-py raises."""
        found: deque[tuple[int, InstanceKey]] = deque()
        revision = last.revision
        while len(found) < MAX_RECENT:
            end = f"{revision}-0"
            read: Any = await one(link, ("XREVRANGE", f"{prefix}:events", end, "-", "COUNT", str(READ_EVENTS)))
            before = revision
            for id_, flat in read:
                key = _key_in(flat) if id_ == b"%d-0" % revision else None
                if key is None or len(found) == MAX_RECENT:
                    break
                found.appendleft((revision, key))
                revision -= 1
            if before - revision < READ_EVENTS:
                break  # the stream begins here, or what is before it cannot be read
        self._last, self._since, self._changed = last, revision, found

    def add(self, position: Position, key: InstanceKey | None) -> None:
        """Add the next event; None for one that concerns an instance that cannot be told."""
        if key is None or position.epoch != self._last.epoch or position.revision != self._last.revision + 1:
            self._changed.clear()
            self._since = position.revision
        else:
            self._changed.append((position.revision, key))
            if len(self._changed) > MAX_RECENT:
                self._since = self._changed.popleft()[0]
        self._last = position

    def shown(self) -> LatestEvents:
        """Return them as they are now."""
        return LatestEvents(self._last, self._since, tuple(self._changed))


def _key_in(flat: list[bytes]) -> InstanceKey | None:
    try:
        return rows.key_of(rows.paired(flat)[b"k"])
    except (KeyError, ValueError):
        return None
