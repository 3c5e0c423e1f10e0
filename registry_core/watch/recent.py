"""What changed shortly before a replica began its history: for readers that return after all replicas did. Pure.

A store that outlives its replicas still knows which instances its last events were about, but not what they did to the
catalogue's digest. So such a reader is not sent these events: it gets what those instances are now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.digest import digest_text
from registry_core.domain.events import Position
from registry_core.domain.records import InstanceKey
from registry_core.watch.cursor import Cursor
from registry_core.watch.lines import Removal, moved_line

# Events of one shard that are kept in mind. A reader that lacks more of them reads everything.
MAX_RECENT: Final = 1000


class LatestEvents(msgspec.Struct, frozen=True):
    """The latest events of one shard, up to `last` and perhaps beyond: their revisions, and the instances they changed.

    All events after the revision `since` are among them.
    """

    last: Position
    since: int
    changed: tuple[tuple[int, InstanceKey], ...]


class Beginning(msgspec.Struct, frozen=True):
    """The beginning of a history, and the instances that had changed shortly before, as they were then."""

    cursor: Cursor
    digest: str
    shards: Mapping[int, LatestEvents]
    lived: Mapping[InstanceKey, Lived | None]  # None: it had been removed
    counts: Mapping[str, int]  # by label: the instances of their services

    def is_reached_from(self, cursor: Cursor) -> bool:
        """Return whether all that happened between `cursor` and the beginning is known."""
        if len(cursor.positions) != len(self.cursor.positions):
            return False
        for start in self.cursor.positions:
            seen, recent = cursor.at(start.shard), self.shards.get(start.shard)
            if seen is None or seen.epoch != start.epoch or seen.revision > start.revision:
                return False
            if seen.revision < start.revision and (recent is None or seen.revision < recent.since):
                return False
        return True

    def line_after(self, cursor: Cursor, label: str | None, state: str) -> bytes:
        """Return the line that brings a reader of one service, or of all, from `cursor` to the beginning."""
        changed = {
            key: None
            for shard, recent in self.shards.items()
            for revision, key in recent.changed
            if revision > _revision(cursor, shard) and label in (None, key.label)
        }
        instances = [lived for key in changed if (lived := self.lived[key]) is not None]
        removed: list[Removal] = [
            (key.label, key.instance_id, self.counts[key.label]) for key in changed if self.lived[key] is None
        ]
        digest = self.digest if label is None else ""
        return moved_line(instances, state=state, cursor=self.cursor, digest=digest, removed=removed)


def beginning_of(catalog: Catalog, cursor: Cursor, recent: Iterable[LatestEvents]) -> Beginning:
    """Return the beginning of a history with this catalogue at `cursor`. A millisecond for a thousand changes."""
    shards: dict[int, LatestEvents] = {}
    lived: dict[InstanceKey, Lived | None] = {}
    for each in recent:
        start = cursor.at(each.last.shard)
        # What came after the beginning is in the history.
        if start is not None and start.epoch == each.last.epoch and start.revision <= each.last.revision:
            changed = tuple(change for change in each.changed if change[0] <= start.revision)
            shards[start.shard] = msgspec.structs.replace(each, changed=changed)
            for _, key in changed:
                lived[key] = catalog.lived_of(key)
    counts = {key.label: catalog.instance_count(key.label) for key in lived}
    return Beginning(cursor, digest_text(catalog.digest_number), shards, lived, counts)


def _revision(cursor: Cursor, shard: int) -> int:
    position = cursor.at(shard)
    return 0 if position is None else position.revision
