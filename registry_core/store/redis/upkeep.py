"""Keeps the keys of one shard consistent with each other, and with what was delivered from it.

Another program may have changed them, or a server may have lost them. Repairs are logged. A lost record is put back
under the oldest possible stamp, so that later writes and removals prevail; if its instance is dead, its lease expires.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from registry_core.domain.records import Instance, InstanceKey
from registry_core.store.redis import rows
from registry_core.store.redis.link import Link
from registry_core.store.redis.lives import reapply
from registry_core.store.redis.pages import one
from registry_core.store.redis.rows import Order
from registry_core.store.redis.scripts import ScriptName, called

# Leases and records compared, and records put back, by one script.
INSPECTED_AT_ONCE: Final = 1_000
PUT_BACK_AT_ONCE: Final = 200
# Instances missing in another life of the shard are looked up in batches of this size.
ASKED_AT_ONCE: Final = 1_000
_OLDEST: Final = Order(0, 0)

_log = structlog.get_logger(component="store.redis")


class Upkeep:
    """Repairs one shard. Every operation raises what redis-py raises."""

    def __init__(self, name: str, prefix: str) -> None:
        self._name = name
        self._prefix = prefix

    async def inspect(self, link: Link) -> tuple[int, int]:
        """Make leases and records cover the same instances; return the revision and the number of records."""
        said = await one(link, called(ScriptName.INSPECT, self._prefix, (str(INSPECTED_AT_ONCE),)))
        revision, records, removed, given = (int(number) for number in said)
        if removed or given:
            _log.warning("leases_mended", shard=self._name, removed=removed, given=given)
        return revision, records

    async def lost(self, link: Link, missing: Sequence[InstanceKey]) -> list[InstanceKey]:
        """Return those of the missing instances that were not removed on record."""
        found: list[InstanceKey] = []
        for start in range(0, len(missing), ASKED_AT_ONCE):
            part = missing[start : start + ASKED_AT_ONCE]
            tombs = await one(link, ("HMGET", f"{self._prefix}:tombs", *map(rows.field_of, part)))
            found += [key for key, tomb in zip(part, tombs, strict=True) if tomb is None]
        return found

    async def put_back(self, link: Link, instances: Sequence[Instance]) -> None:
        """Put back records that disappeared without an event."""
        put_back = 0
        for start in range(0, len(instances), PUT_BACK_AT_ONCE):
            entries: list[tuple[str | bytes, ...]] = [
                (rows.field_of(instance.key), instance.service_name, rows.value_of(instance, _OLDEST), "")
                for instance in instances[start : start + PUT_BACK_AT_ONCE]
            ]
            put_back += await reapply(link, self._prefix, entries)
        _log.warning("records_put_back", shard=self._name, count=put_back)

    async def take_out_foreign_events(self, link: Link, ids: Sequence[bytes], revision: int) -> bool:
        """Remove stream entries that no script added; return whether any of these ids were there."""
        foreign = [id_ for id_ in ids if not id_.endswith(b"-0") or int(id_.partition(b"-")[0]) > revision]
        if foreign:
            _log.warning("foreign_events", shard=self._name, count=len(foreign), first=foreign[0].decode())
            await one(link, ("XDEL", f"{self._prefix}:events", *foreign))
        return bool(foreign)
