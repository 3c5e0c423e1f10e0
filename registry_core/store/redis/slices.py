"""Processes something large in parts, yielding to the event loop in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.records import InstanceKey
from registry_core.store.redis.shard_records import ShardRecords

# Instances compared or put into a catalogue before yielding to the loop: about 3 ms.
PART: Final = 250


def parts(keys: list[InstanceKey]) -> Iterator[list[InstanceKey]]:
    """Yield the keys in parts small enough not to block the loop noticeably."""
    for start in range(0, len(keys), PART):
        yield keys[start : start + PART]


async def differences(before: ShardRecords, after: ShardRecords) -> list[InstanceKey]:
    """Return the keys that differ between them, apart from heartbeats, yielding to the loop in between.

    Equal records are one object in both from then on, so that none is kept twice.
    """
    found: list[InstanceKey] = []
    for part in parts(list(before.lived)):
        found += [key for key in part if key not in after.lived]
        await asyncio.sleep(0)
    for part in parts(list(after.lived)):
        for key in part:
            old, new = before.lived.get(key), after.lived[key]
            if old is not None and old.instance == new.instance:
                after.lived[key] = Lived(old.instance, max(old.heartbeat_at, new.heartbeat_at))
            else:
                found.append(key)
        await asyncio.sleep(0)
    return found


async def shed(old: ShardRecords | Catalog) -> None:
    """Free what is no longer read, yielding to the loop in between."""
    for _ in range(len(old) // PART + 1):
        old.shed(PART)
        await asyncio.sleep(0)
