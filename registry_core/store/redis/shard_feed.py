"""Protocol of the receiver of a follower's events, which can also be asked what was delivered."""

from __future__ import annotations

from typing import Protocol

from registry_core.domain.events import Event, Position
from registry_core.domain.records import Instance, InstanceKey
from registry_core.store.redis.shard_records import ShardRecords


class ShardFeed(Protocol):
    """Receives what the follower of a shard reads."""

    async def shard_read(
        self, shard: int, position: Position, records: ShardRecords, *, whole: bool, born_empty: bool
    ) -> None:
        """Deliver all that the shard holds; `born_empty` when its server came up empty.

        Not `whole`: something delivered before is missing, and no event says that it was removed. Returns once
        delivered.
        """
        ...

    def missing(self, shard: int, records: ShardRecords) -> list[InstanceKey]:
        """Return the instances delivered from this shard that are not in `records`."""
        ...

    def shard_events(self, events: list[Event]) -> None:
        """Deliver the events since."""
        ...

    def heard_at(self, shard: int, key: InstanceKey) -> float:
        """Return the last delivered heartbeat of that instance, in Unix seconds."""
        ...

    def instance(self, shard: int, key: InstanceKey) -> Instance | None:
        """Return that instance as it was delivered from this shard."""
        ...

    def instances(self, shard: int) -> list[Instance]:
        """Return all instances delivered from this shard."""
        ...

    def size(self, shard: int) -> int:
        """Return the number of those instances."""
        ...
