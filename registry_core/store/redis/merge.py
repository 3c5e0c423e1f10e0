"""One catalogue out of several shards. Pure.

While a shard is added, an instance may be held by two: by its old shard until it is taken out there, and by
its own since its agent registered it anew. The copy in a shard that is joining counts, since only a replica
that places services there already can have put it there; then the one in its own shard; then any other, so
that nobody is missing in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from registry_core.domain.catalog import Lived
from registry_core.domain.events import Deregistered, Event, Expired, Registered, Renewed, StatusChanged
from registry_core.domain.records import InstanceKey


class Merge:
    """What each shard holds, and the events that are true of all of them together."""

    def __init__(self, own_shard: Callable[[str], int], joining: frozenset[int] = frozenset()) -> None:
        """`own_shard` says by hashing where a label belongs; nothing is placed in `joining` here."""
        self._own_shard = own_shard
        self._joining = joining
        self._held: dict[InstanceKey, dict[int, Lived]] = {}
        self._twofold: set[InstanceKey] = set()
        self._joined: dict[str, dict[InstanceKey, int]] = {}  # by label: who has moved, and where to
        self._at_address: dict[str, set[InstanceKey]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def instances(self) -> Iterable[Lived]:
        """Return the copy that counts of every instance."""
        for key in self._held:
            counts = self._counting(key)
            if counts is not None:
                yield counts

    def get(self, key: InstanceKey) -> Lived | None:
        """Return the copy of `key` that counts."""
        return self._counting(key)

    def at_address(self, address: str) -> list[Lived]:
        """Return the instances that are registered at `host:port`: one, or more for a moment."""
        found = (self._counting(key) for key in self._at_address.get(address, ()))
        return [lived for lived in found if lived is not None and lived.instance.address == address]

    def home(self, label: str, instance_id: str | None = None) -> int:
        """Return the shard in which an instance is written; without an id, the newest of its service."""
        joined = self._joined.get(label)
        if joined:
            if instance_id is None:
                return next(iter(joined.values()))
            moved = joined.get(InstanceKey(label, instance_id))
            if moved is not None:
                return moved
        return self._own_shard(label)

    def outlived(self) -> list[tuple[InstanceKey, int]]:
        """Return the copies that nobody needs: of instances that are at home by now."""
        found: list[tuple[InstanceKey, int]] = []
        for key in self._twofold:
            home = self.home(key.label, key.instance_id)
            if home in self._held[key]:
                found.extend((key, shard) for shard in self._held[key] if shard != home)
        return found

    def shards_of(self, key: InstanceKey) -> list[int]:
        """Return the shards that hold a copy of `key`."""
        return sorted(self._held.get(key, ()))

    def replace(self, shard: int, instances: Iterable[Lived]) -> None:
        """Hold `instances`, and nothing else, as what `shard` holds."""
        for key in [key for key, copies in self._held.items() if shard in copies]:
            self._drop(key, shard)
        for lived in instances:
            self._put(lived.instance.key, shard, lived)

    def apply(self, event: Event) -> Event:
        """Take one event of its shard, and return what to tell of it, under the same position.

        An event of a copy that does not count is told as what counts is, once more: revisions are to
        rise by one, and hearing the same again changes nothing.
        """
        key, shard = event.key, event.position.shard
        single = not (self._held.get(key, {}).keys() - {shard})
        self._take(event, key, shard)
        after = self._counting(key)
        if single or after is None or isinstance(event, Renewed):
            return event
        return Registered(event.position, after.instance, after.heartbeat_at)

    def _take(self, event: Event, key: InstanceKey, shard: int) -> None:
        copies = self._held.get(key, {})
        match event:
            case Registered(instance=instance, heartbeat_at=at):
                self._put(key, shard, Lived(instance, at))
            case StatusChanged(status=status):
                if shard in copies:
                    held = copies[shard]
                    instance = msgspec.structs.replace(held.instance, status=status)
                    copies[shard] = Lived(instance, held.heartbeat_at)
            case Renewed(heartbeat_at=at):
                if shard in copies:
                    copies[shard] = Lived(copies[shard].instance, at)
            case Deregistered() | Expired():
                self._drop(key, shard)

    def _counting(self, key: InstanceKey) -> Lived | None:
        copies = self._held.get(key)
        if not copies:
            return None
        own = copies.get(self.home(key.label, key.instance_id))
        return own if own is not None else copies[min(copies)]

    def _put(self, key: InstanceKey, shard: int, lived: Lived) -> None:
        self._drop(key, shard)  # its address may be another one now
        copies = self._held.setdefault(key, {})
        copies[shard] = lived
        if len(copies) > 1:
            self._twofold.add(key)
        if shard in self._joining:
            self._joined.setdefault(key.label, {})[key] = shard
        self._at_address.setdefault(lived.instance.address, set()).add(key)

    def _drop(self, key: InstanceKey, shard: int) -> None:
        copies = self._held.get(key)
        if copies is not None:
            dropped = copies.pop(shard, None)
            if dropped is not None:
                address = dropped.instance.address
                there = self._at_address.get(address, set())
                if not any(copy.instance.address == address for copy in copies.values()):
                    there.discard(key)
                if not there:
                    self._at_address.pop(address, None)
            if len(copies) < 2:
                self._twofold.discard(key)
            if shard in self._joining and dropped is not None:
                joined = self._joined[key.label]
                del joined[key]
                if not joined:
                    del self._joined[key.label]
            if not copies:
                del self._held[key]
