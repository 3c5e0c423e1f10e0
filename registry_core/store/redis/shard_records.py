"""What one shard holds, as far as it was read: its instances, and an index by socket. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from registry_core.domain.catalog import Lived
from registry_core.domain.events import Deregistered, Event, Expired, Registered, Renewed, StatusChanged
from registry_core.domain.records import Instance, InstanceKey


class ShardRecords:
    """The instances of one shard, and which of them hold a socket."""

    def __init__(self, instances: Iterable[Lived] = ()) -> None:
        self.lived: dict[InstanceKey, Lived] = {}
        # One, or more where earlier releases registered them, or while an event is on its way.
        self.at_socket: dict[str, tuple[InstanceKey, ...]] = {}
        for lived in instances:
            self.put(lived)

    def put(self, lived: Lived) -> None:
        """Add or replace an instance."""
        instance = lived.instance
        key = instance.key
        before = self.lived.get(key)
        if before is None or not _has_same_sockets(before.instance, instance):
            self.drop(key)
            for socket in instance.sockets:
                # Most instances have their socket as their id: one string for both.
                name = instance.instance_id if instance.instance_id == socket else socket
                self.at_socket[name] = (*self.at_socket.get(socket, ()), key)
        self.lived[key] = lived

    def drop(self, key: InstanceKey) -> None:
        """Remove an instance, if it is present."""
        dropped = self.lived.pop(key, None)
        for socket in dropped.instance.sockets if dropped is not None else ():
            there = tuple(other for other in self.at_socket[socket] if other != key)
            if there:
                self.at_socket[socket] = there
            else:
                del self.at_socket[socket]

    def __len__(self) -> int:
        """The number of instances."""
        return len(self.lived)

    def shed(self, most: int) -> None:
        """Free at most `most` instances, once nothing reads them any more."""
        for _ in range(min(most, len(self.lived))):
            self.lived.popitem()
        for _ in range(min(most, len(self.at_socket))):
            self.at_socket.popitem()

    def apply(self, event: Event) -> None:
        """Apply an event; one about an absent instance changes nothing."""
        match event:
            case Renewed(key=key, heartbeat_at=at):  # of these there are the most
                lived = self.lived.get(key)
                if lived is not None:
                    self.lived[key] = Lived(lived.instance, at)
            case Registered(instance=instance, heartbeat_at=at):
                self.put(Lived(instance, at))
            case StatusChanged(key=key, status=status):
                lived = self.lived.get(key)
                if lived is not None:
                    instance = msgspec.structs.replace(lived.instance, status=status)
                    self.lived[key] = Lived(instance, lived.heartbeat_at)
            case Deregistered(key=key) | Expired(key=key):
                self.drop(key)


def _has_same_sockets(one: Instance, other: Instance) -> bool:
    return one is other or (one.socket, one.addresses) == (other.socket, other.addresses)
