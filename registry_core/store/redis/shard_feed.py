"""Where the follower of a shard delivers, as a Protocol: what it tells, and what it asks of what it has told."""

from __future__ import annotations

from typing import Protocol

from registry_core.domain.events import Event, Position
from registry_core.domain.records import Instance, InstanceKey
from registry_core.store.redis.shard_records import ShardRecords


class ShardFeed(Protocol):
    """Where the follower of a shard delivers."""

    @property
    def needs_addresses(self) -> bool:
        """Whether what is read is to be found by its address."""
        ...

    async def shard_read(
        self, shard: int, position: Position, records: ShardRecords, *, whole: bool, born_empty: bool
    ) -> None:
        """All that the shard holds; `born_empty` when its server came up without any memory.

        Not `whole`: something that was delivered is missing, and nothing says that it was taken out. Returns when it
        has been delivered.
        """
        ...

    def missing(self, shard: int, records: ShardRecords) -> list[InstanceKey]:
        """The instances that were delivered of this shard and are not in `records`."""
        ...

    def shard_events(self, events: list[Event]) -> None:
        """What happened since."""
        ...

    def heard_at(self, shard: int, key: InstanceKey) -> float:
        """When that instance was last heard of, as far as it was delivered; Unix seconds."""
        ...

    def instance(self, shard: int, key: InstanceKey) -> Instance | None:
        """That instance, as it was delivered of this shard."""
        ...

    def instances(self, shard: int) -> list[Instance]:
        """All that was delivered of this shard."""
        ...

    def size(self, shard: int) -> int:
        """How many those are."""
        ...
