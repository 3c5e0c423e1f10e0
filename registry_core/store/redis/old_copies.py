"""While a shard is added: removes instances' copies from their old shards, once they are in their home shards.

This happens before their leases expire there; otherwise the guard would see a mass expiry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from registry_core.domain.records import InstanceKey
from registry_core.errors import NotFound, Unavailable
from registry_core.store.redis.shard import Shard
from registry_core.supervision import Background

# How long an old copy is kept along with the new one: other replicas follow the two shards independently, and should
# see the new copy before the old one goes.
OUTLIVED_S: Final = 1.0
MOST_REMOVALS: Final = 200  # at a time


class OldCopies:
    """Removes the copies that are no longer needed."""

    def __init__(self, shards: Sequence[Shard], background: Background) -> None:
        self._shards = shards
        self._background = background
        self._since: dict[tuple[InstanceKey, int], float] = {}
        self._removing: set[InstanceKey] = set()
        self.under_way: set[asyncio.Task[None]] = set()

    def remove(self, outlived: Sequence[tuple[InstanceKey, int]], now: float) -> None:
        """Start to remove those copies, each with its shard's number, that have been redundant for long enough."""
        self._since = {copy: self._since.get(copy, now) for copy in outlived}
        for key, number in outlived:
            if now - self._since[key, number] < OUTLIVED_S or key in self._removing:
                continue
            if len(self._removing) >= MOST_REMOVALS:
                return
            self._removing.add(key)
            task = self._background.begin("redis old copies", partial(self._remove, key, number))
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    async def _remove(self, key: InstanceKey, number: int) -> None:
        try:
            await self._shards[number].deregister(key, None)
        except (NotFound, Unavailable):
            pass  # another replica was faster, or the next sweep retries
        finally:
            self._removing.discard(key)
