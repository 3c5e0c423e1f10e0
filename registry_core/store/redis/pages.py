"""Reads the whole of a shard, a page at a time, while it keeps changing; the result is exact nevertheless.

The position is noted first, then every record is scanned, then the events since that position are applied:

- A record that stays unchanged throughout the scan is returned by it (HSCAN guarantees that).
- A record that was changed, added or removed meanwhile may be returned in any of its states, or not at all. But
  each of its changes has an event after the noted position. Applying all of them, in order, to any of these states
  gives the last one: a registration carries the whole record, a removal ends it, and a status comes last.

So the result is the shard at one revision, no lower than any that the scan has seen. Heartbeats have no events; the
follower re-reads those since the scan began.

Entries that cannot be read are set aside, by their fields, and stop nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from registry_core.domain.events import Deregistered, Position, Registered
from registry_core.errors import StoreUnavailable
from registry_core.store.redis import rows, scripts
from registry_core.store.redis.link import Link
from registry_core.store.redis.rows import StreamEntry, Unreadable
from registry_core.store.redis.scripts import RedisCommand, ScriptName
from registry_core.store.redis.shard_records import ShardRecords

# About 1 ms of the server's time, and 2 of ours.
PAGE_RECORDS: Final = 200
READ_EVENTS: Final = 500
ANSWER_S: Final = 5.0
# How many unreadable entries are remembered by their fields.
MAX_ASIDE: Final = 1_000


class Whole(msgspec.Struct, frozen=True):
    """All that a shard held at `position`. Heartbeats after `began_ms`, the server's time, may be missing."""

    position: Position
    records: ShardRecords
    began_ms: int
    aside: tuple[Unreadable, ...] = ()  # what could not be read, up to a bound


async def read_whole(link: Link, prefix: str, shard: int) -> Whole:
    """Read the shard.

    Raises StoreUnavailable when its history did not continue from the beginning to the end, or what redis-py raises.
    """
    records = ShardRecords()
    aside: dict[str, Unreadable] = {}
    seconds, microseconds = await one(link, ("TIME",))
    began_ms = int(seconds) * 1000 + int(microseconds) // 1000
    epoch, began_at, seen = await _scan(link, prefix, records, aside)
    revision = began_at
    while revision < seen:
        read: Any = await one(
            link, ("XREAD", "COUNT", str(READ_EVENTS), "STREAMS", f"{prefix}:events", f"{revision}-0")
        )
        if not read:
            raise StoreUnavailable("the shard's revision went back while it was read")
        for id_, flat in read[0][1]:
            if id_ != b"%d-0" % (revision + 1):
                raise StoreUnavailable("events were trimmed away before they were read")
            revision += 1
            entry = rows.entry_of(shard, epoch, id_, rows.paired(flat))
            if isinstance(entry, StreamEntry) and entry.event is None:
                entry = await looked_up(link, prefix, shard, epoch, entry)
            if isinstance(entry, Unreadable):
                set_aside(aside, entry)
            elif entry.event is not None:
                records.apply(entry.event)
                aside.pop(entry.field.decode(errors="replace"), None)
    return Whole(Position(shard, epoch, revision), records, began_ms, tuple(aside.values()))


async def _scan(link: Link, prefix: str, records: ShardRecords, aside: dict[str, Unreadable]) -> tuple[str, int, int]:
    """Read every record, in any of its states; return the epoch, and the revisions at the beginning and at the end."""
    at, epoch, began_at, seen = b"0", "", 0, 0
    while True:
        page = await one(link, scripts.called(ScriptName.PAGE, prefix, (at, str(PAGE_RECORDS))))
        found, seen, at = page[0].decode(), int(page[1]), page[2]
        if not epoch:
            epoch, began_at = found, seen
        if found != epoch:
            raise StoreUnavailable("another life of the shard began while it was read")
        for record in rows.page_of(page[3]):
            if isinstance(record, Unreadable):
                set_aside(aside, record)
            else:
                records.put(record[1])
        for field in page[4:]:
            set_aside(aside, rows.unreadable(field, "it is not a record of this registry"))
        if at == b"0":
            return epoch, began_at, seen


async def looked_up(link: Link, prefix: str, shard: int, epoch: str, entry: StreamEntry) -> StreamEntry | Unreadable:
    """Return an entry of an unknown kind as the state that it led to, read from the current record.

    Raises what redis-py raises.
    """
    field, position = entry.field, Position(shard, epoch, entry.revision)
    value, heard = await link.ask([("HGET", f"{prefix}:records", field), ("ZSCORE", f"{prefix}:leases", field)])
    for answer in (value, heard):
        if isinstance(answer, Exception):
            raise answer
    try:
        if value is None:
            return msgspec.structs.replace(entry, event=Deregistered(position, rows.key_of(field)))
        stored = rows.stored_in(value)
        event = Registered(position, stored.instance, float(heard or 0) / 1000)
        return StreamEntry(entry.revision, field, event, stored.order, stored.instance.epoch)
    except (ValueError, msgspec.MsgspecError) as error:
        return rows.unreadable(field, error)


def set_aside(aside: dict[str, Unreadable], entry: Unreadable) -> None:
    """Remember an unreadable entry, within the bound."""
    if len(aside) < MAX_ASIDE or entry.field in aside:
        aside[entry.field] = entry


async def one(link: Link, command: RedisCommand) -> Any:
    """Return the answer to one command. Raises what redis-py raises, also when the server refuses it."""
    async with asyncio.timeout(ANSWER_S):
        (answer,) = await link.ask([command])
    if isinstance(answer, Exception):
        raise answer
    return answer
