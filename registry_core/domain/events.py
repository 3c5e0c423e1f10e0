"""What happens to the catalogue, in the past tense. A view is the sum of its events.

Renewals are events too, but they have no revision of their own: a view that missed one is not wrong.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from registry_core.domain.records import Instance, InstanceKey, Status


class Position(msgspec.Struct, frozen=True, order=True, gc=False):
    """A place in one shard's history. Revisions rise by one within an epoch; epochs are not ordered."""

    shard: int
    epoch: str
    revision: int


class Registered(msgspec.Struct, frozen=True, tag="registered", gc=False):
    """An instance appeared, or was replaced by a new record under the same id."""

    position: Position
    instance: Instance
    heartbeat_at: float  # Unix seconds, the store's clock

    @property
    def key(self) -> InstanceKey:
        return self.instance.key


class StatusChanged(msgspec.Struct, frozen=True, tag="status_changed", gc=False):
    """An instance's status changed; nothing else of its record did."""

    position: Position
    key: InstanceKey
    status: Status


class Deregistered(msgspec.Struct, frozen=True, tag="deregistered", gc=False):
    """An instance was removed on request, or its address was taken over."""

    position: Position
    key: InstanceKey


class Expired(msgspec.Struct, frozen=True, tag="expired", gc=False):
    """An instance's lease and grace ran out."""

    position: Position
    key: InstanceKey


class Renewed(msgspec.Struct, frozen=True, tag="renewed", gc=False):
    """A lease was renewed. `position` is the last revision, which a renewal does not raise."""

    position: Position
    key: InstanceKey
    heartbeat_at: float


Event: TypeAlias = Registered | StatusChanged | Deregistered | Expired | Renewed
