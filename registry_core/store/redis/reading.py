"""Reads everything that a shard holds, a page at a time, while it goes on changing; and is exact all the same.

The position is noted first, then every record is scanned, then the events since that position are applied:

- A record that stands untouched for the whole of the scan is returned by it (HSCAN promises that).
- A record that was changed, added or removed meanwhile may be returned in any of its states, or not at all. But
  each of its changes has an event behind the noted position. Applying all of them, in order, to any of these states
  gives the last one: a registration tells all of a record, a removal all of its end, and a status is told last.

So the result is the shard as it was at one revision, which is not below any that the scan has seen. Heartbeats have no
events; those since the scan began are read again by whoever follows.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from registry_core.domain.events import Position
from registry_core.errors import StoreUnavailable
from registry_core.store.redis import rows, scripts
from registry_core.store.redis.held import Held
from registry_core.store.redis.scripts import Name

# About 1 ms of the server's time, and 2 of ours.
PAGE_RECORDS: Final = 200
READ_EVENTS: Final = 500
ANSWER_S: Final = 5.0


class Whole(msgspec.Struct, frozen=True):
    """All that a shard held at `position`. No heartbeat after `began_ms`, the server's time, is sure to be in it."""

    position: Position
    held: Held
    began_ms: int


async def read_whole(client: Redis, prefix: str, shard: int, *, addresses: bool = True) -> Whole:
    """Read the shard, with who is at which address where that is asked for.

    Raises StoreUnavailable when its history did not go on from the beginning to the end.
    """
    held = Held(addresses=addresses)
    async with asyncio.timeout(ANSWER_S):
        seconds, microseconds = await client.time()
    began_ms = seconds * 1000 + microseconds // 1000
    at, epoch, began_at, seen = b"0", "", 0, 0
    while True:
        async with asyncio.timeout(ANSWER_S):
            page = await scripts.call(client, Name.PAGE, prefix, at, str(PAGE_RECORDS))
        found, seen, at = page[0].decode(), int(page[1]), page[2]
        if not epoch:
            epoch, began_at = found, seen
        if found != epoch:
            raise StoreUnavailable("another life of the shard began while it was read")
        for lived in rows.page_of(page[3]):
            held.put(lived)
        if at == b"0":
            break
    revision = began_at
    while revision < seen:
        async with asyncio.timeout(ANSWER_S):
            read: Any = await client.xread({f"{prefix}:events": f"{revision}-0"}, count=READ_EVENTS)
        if not read:
            raise StoreUnavailable("the shard took back what it had told")
        for id_, entry in read[0][1]:
            event = rows.event_of(shard, epoch, id_, entry)
            if event.position.revision != revision + 1:
                raise StoreUnavailable("events were trimmed away before they were read")
            held.apply(event)
            revision = event.position.revision
    return Whole(Position(shard, epoch, revision), held, began_ms)
