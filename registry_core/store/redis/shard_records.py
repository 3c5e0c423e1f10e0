"""What one shard holds, as far as it was read: its instances, and an index by socket. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from registry_core.domain.catalog import Lived
from registry_core.domain.events import Deregistered, Event, Expired, Registered, Renewed, StatusChanged
from registry_core.domain.records import InstanceKey


class ShardRecords:
    """The instances of one shard, indexed by socket when there are other shards."""

    def __init__(self, instances: Iterable[Lived] = (), *, sockets: bool = True) -> None:
        self._sockets = sockets
        self.lived: dict[InstanceKey, Lived] = {}
        self.at_socket: dict[str, tuple[InstanceKey, ...]] = {}  # one, or briefly more
        for lived in instances:
            self.put(lived)

    def put(self, lived: Lived) -> None:
        """Add or replace an instance."""
        key = lived.instance.key
        if self._sockets:
            before, socket = self.lived.get(key), lived.instance.socket
            if before is None or before.instance.socket != socket:
                self.drop(key)
                self.at_socket[socket] = (*self.at_socket.get(socket, ()), key)
        self.lived[key] = lived

    def drop(self, key: InstanceKey) -> None:
        """Remove an instance, if it is present."""
        dropped = self.lived.pop(key, None)
        if dropped is not None and self._sockets:
            socket = dropped.instance.socket
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
            case Registered(instance=instance, heartbeat_at=at):
                self.put(Lived(instance, at))
            case StatusChanged(key=key, status=status):
                lived = self.lived.get(key)
                if lived is not None:
                    instance = msgspec.structs.replace(lived.instance, status=status)
                    self.lived[key] = Lived(instance, lived.heartbeat_at)
            case Renewed(key=key, heartbeat_at=at):
                lived = self.lived.get(key)
                if lived is not None:
                    self.lived[key] = Lived(lived.instance, at)
            case Deregistered(key=key) | Expired(key=key):
                self.drop(key)
