"""One catalogue out of several shards. Pure.

While a shard is added, an instance may be held by two: by its old shard until it is taken out there, and by
its own since its agent registered it anew. The copy in a shard that is joining counts, since only a replica
that places services there already can have put it there; then the one in its own shard; then any other, so
that nobody is missing in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import combinations

from registry_core.domain.catalog import Lived
from registry_core.domain.events import Deregistered, Event, Position, Registered, Renewed
from registry_core.domain.records import InstanceKey
from registry_core.store.redis.shard_records import ShardRecords


class Merge:
    """What each shard holds, and the events that are true of all of them together."""

    def __init__(self, own_shard: Callable[[str], int], shards: int, joining: frozenset[int] = frozenset()) -> None:
        """`own_shard` says by hashing where a label belongs; nothing is placed in `joining` here."""
        self._own_shard = own_shard
        self._joining = joining
        self._shards = [ShardRecords(addresses=shards > 1) for _ in range(shards)]
        self._twofold: set[InstanceKey] = set()
        self._joined: dict[str, dict[InstanceKey, int]] = {}  # by label: who has moved, and where to

    def keys(self) -> Iterator[InstanceKey]:
        """Yield the key of every instance, twice where two shards hold one."""
        for records in self._shards:
            yield from records.lived

    def instances(self) -> Iterable[Lived]:
        """Return the copy that counts of every instance."""
        for records in self._shards:
            for key, lived in records.lived.items():
                if self.get(key) is lived:
                    yield lived

    def get(self, key: InstanceKey) -> Lived | None:
        """Return the copy of `key` that counts."""
        own = self._shards[self.home(key.label, key.instance_id)].lived.get(key)
        if own is not None or len(self._shards) == 1:
            return own
        return next((records.lived[key] for records in self._shards if key in records.lived), None)

    def heard_at(self, shard: int, key: InstanceKey) -> float:
        """Return when the copy of `shard` was last heard of, Unix seconds; 0 when it has none."""
        lived = self._shards[shard].lived.get(key)
        return 0.0 if lived is None else lived.heartbeat_at

    def at_address(self, address: str) -> list[Lived]:
        """Return the instances that are registered at `host:port`: one, or more for a moment."""
        keys = {key for records in self._shards for key in records.at_address.get(address, ())}
        found = (self.get(key) for key in keys)
        return [lived for lived in found if lived is not None and lived.instance.address == address]

    def home(self, label: str, instance_id: str | None = None) -> int:
        """Return the shard in which an instance is written; without an id, the newest of its service."""
        joined = self._joined.get(label) if self._joining else None
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
        """Have `shard` hold what `records` does, and nothing else. At once, whatever its size."""
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
        """Take one event of its shard, and return what to tell of it, under the same position.

        An event of a copy that does not count is told as what counts is, once more: revisions are to
        rise by one, and hearing the same again changes nothing.
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
        """Return the event that tells how `key` is now, whatever it was before."""
        counts = self.get(key)
        if counts is None:
            return Deregistered(position, key)
        return Registered(position, counts.instance, counts.heartbeat_at)
