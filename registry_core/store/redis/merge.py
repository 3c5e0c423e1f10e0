"""Merges several shards into one catalogue. Pure.

While a shard is being added, two shards may hold one instance: the old one until the instance is removed there,
and its home shard since its agent registered again. The copy in a joining shard counts first, since only a
replica that already places services there can have put it there; then the copy in the home shard; then any
other, so that no instance is missing in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import combinations

from registry_core.domain.catalog import Lived
from registry_core.domain.events import Deregistered, Event, Position, Registered, Renewed
from registry_core.domain.records import Instance, InstanceKey
from registry_core.store.redis.shard_records import ShardRecords


class Merge:
    """What each shard holds, and the events of all of them combined."""

    def __init__(self, own_shard: Callable[[str], int], shards: int, joining: frozenset[int] = frozenset()) -> None:
        """`own_shard` maps a label to its shard by hashing; this replica places nothing in `joining`."""
        self._own_shard = own_shard
        self._joining = joining
        self._shards = [ShardRecords() for _ in range(shards)]
        self._twofold: set[InstanceKey] = set()
        self._joined: dict[str, dict[InstanceKey, int]] = {}  # by label: the instances that moved, and to which shard

    def keys(self) -> Iterator[InstanceKey]:
        """Yield the key of every instance, twice when two shards hold it."""
        for records in self._shards:
            yield from records.lived

    def instances(self) -> Iterable[Lived]:
        """Return the authoritative copy of every instance."""
        for records in self._shards:
            for key, lived in records.lived.items():
                if self.get(key) is lived:
                    yield lived

    def get(self, key: InstanceKey) -> Lived | None:
        """Return the authoritative copy of `key`."""
        own = self._shards[self.home(key.label, key.instance_id)].lived.get(key)
        if own is not None or len(self._shards) == 1:
            return own
        return next((records.lived[key] for records in self._shards if key in records.lived), None)

    def heard_at(self, shard: int, key: InstanceKey) -> float:
        """Return the last heartbeat of the copy in `shard`, in Unix seconds; 0 when it has none."""
        lived = self._shards[shard].lived.get(key)
        return 0.0 if lived is None else lived.heartbeat_at

    def at_sockets(self, sockets: Collection[str]) -> list[Instance]:
        """Return the instances that hold any of these sockets."""
        keys = {key for records in self._shards for socket in sockets for key in records.at_socket.get(socket, ())}
        if not keys:
            return []
        found = (self.get(key) for key in keys)
        return [one.instance for one in found if one is not None and not set(sockets).isdisjoint(one.instance.sockets)]

    def home(self, label: str, instance_id: str | None = None) -> int:
        """Return the shard in which an instance is written; without an id, that of the newest of its service."""
        joined = self._joined.get(label) if self._joining else None
        if joined:
            if instance_id is None:
                return next(iter(joined.values()))
            moved = joined.get(InstanceKey(label, instance_id))
            if moved is not None:
                return moved
        return self._own_shard(label)

    def outlived(self) -> list[tuple[InstanceKey, int]]:
        """Return the redundant copies: those of instances already present in their home shard."""
        found: list[tuple[InstanceKey, int]] = []
        for key in self._twofold:
            home, shards = self.home(key.label, key.instance_id), self.shards_of(key)
            if home in shards:
                found.extend((key, shard) for shard in shards if shard != home)
        return found

    def shards_of(self, key: InstanceKey) -> list[int]:
        """Return the shards that hold a copy of `key`."""
        return [shard for shard, records in enumerate(self._shards) if key in records.lived]

    def sizes(self, labels: Collection[str]) -> Counter[str]:
        """Return how many instances each of these services has."""
        found: Counter[str] = Counter()
        for shard, records in enumerate(self._shards):
            for key in records.lived:
                if key.label in labels and self.shards_of(key)[0] == shard:
                    found[key.label] += 1
        return found

    def replace(self, shard: int, records: ShardRecords) -> None:
        """Replace the contents of `shard` with `records`, in constant time."""
        self._shards[shard] = records
        pairs = combinations([each.lived.keys() for each in self._shards], 2)
        self._twofold = set().union(*(one & other for one, other in pairs))
        if shard in self._joining:
            for joined in self._joined.values():
                for key in [key for key, at in joined.items() if at == shard]:
                    del joined[key]
            for key in records.lived:
                self._joined.setdefault(key.label, {})[key] = shard

    def records(self, shard: int) -> ShardRecords:
        """Return what `shard` holds."""
        return self._shards[shard]

    def apply(self, event: Event) -> Event:
        """Apply one event of its shard, and return the event to deliver under the same position.

        An event of a copy that does not count repeats the state of the one that does: revisions must
        rise by one, and a repetition changes nothing.
        """
        if len(self._shards) == 1:
            self._shards[0].apply(event)
            return event
        key, shard = event.key, event.position.shard
        single = all(key not in records.lived for other, records in enumerate(self._shards) if other != shard)
        self._shards[shard].apply(event)
        self._note(key, shard)
        after = self.get(key)
        if single or after is None or isinstance(event, Renewed):
            return event
        return Registered(event.position, after.instance, after.heartbeat_at)

    def _note(self, key: InstanceKey, shard: int) -> None:
        if len(self.shards_of(key)) > 1:
            self._twofold.add(key)
        else:
            self._twofold.discard(key)
        if shard in self._joining:
            if key in self._shards[shard].lived:
                self._joined.setdefault(key.label, {})[key] = shard
            elif self._joined.get(key.label, {}).pop(key, None) is not None and not self._joined[key.label]:
                del self._joined[key.label]

    def now(self, key: InstanceKey, position: Position) -> Event:
        """Return the event that states how `key` is now, whatever it was before."""
        counts = self.get(key)
        if counts is None:
            return Deregistered(position, key)
        return Registered(position, counts.instance, counts.heartbeat_at)
