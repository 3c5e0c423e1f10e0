"""The materialised view: every service and instance, found by name, by short id and by address.

It is the sum of the events applied to it, and nothing else changes it. Applying an event twice is
the same as applying it once. Lookups are dictionary lookups; they take no lock and never wait.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import reduce
from operator import xor
from typing import Final

import msgspec

from registry_core.domain.cursor import Cursor
from registry_core.domain.events import Deregistered, Event, Expired, Registered, Renewed, StatusChanged
from registry_core.domain.names import label_of, short_id
from registry_core.domain.records import Instance, InstanceKey, Service

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


class Lived(msgspec.Struct, frozen=True):
    """An instance, and when it was last heard of (Unix seconds, the store's clock)."""

    instance: Instance
    heartbeat_at: float


class Snapshot(msgspec.Struct, frozen=True):
    """Everything there is at one moment, and the cursor from which events go on.

    Not `whole`: a part of the store could not be read, and what it holds is unknown. `born_empty`: a part
    of it came up without any memory, so that what is missing may be alive.
    """

    cursor: Cursor
    instances: tuple[Lived, ...]
    whole: bool = True
    born_empty: bool = False


class Catalog:
    """All services of one replica or of one agent's view."""

    def __init__(self) -> None:
        self._services: dict[str, dict[str, Instance]] = {}
        self._found: dict[str, Service] = {}  # the answers of find(), dropped when they change
        self._heartbeats: dict[InstanceKey, float] = {}
        self._holders: dict[str, Instance] = {}  # by host:port
        self._shorts: dict[str, Instance] = {}
        self._by_ip: dict[str, dict[InstanceKey, Instance]] = {}
        self._size = 0
        self._digest = 0

    def __len__(self) -> int:
        """The number of instances."""
        return self._size

    def __iter__(self) -> Iterator[Instance]:
        for instances in self._services.values():
            yield from instances.values()

    # -- lookups

    def labels(self) -> Iterable[str]:
        """Return the DNS label of every service."""
        return self._services.keys()

    def names(self) -> list[str]:
        """Return the name of every service, sorted."""
        return sorted(next(iter(s.values())).service_name for s in self._services.values())

    @property
    def service_count(self) -> int:
        return len(self._services)

    def find(self, name: str) -> Service | None:
        """Return the service of that name, in either spelling of '_' and '-', or None."""
        label = label_of(name)
        found = self._found.get(label)
        if found is None:
            instances = self._services.get(label)
            if instances is None:
                return None
            ordered = tuple(instances[i] for i in sorted(instances))
            found = self._found[label] = Service(ordered[0].service_name, ordered)
        return found

    def get(self, key: InstanceKey) -> Instance | None:
        """Return one instance, or None."""
        return self._services.get(key.label, {}).get(key.instance_id)

    def heartbeat_at(self, key: InstanceKey) -> float:
        """Return when `key` was last heard of, Unix seconds; 0.0 for what is not there."""
        return self._heartbeats.get(key, 0.0)

    def holder(self, address: str) -> Instance | None:
        """Return who has registered `host:port`, or None."""
        return self._holders.get(address)

    def by_short(self, short: str) -> Instance | None:
        """Return the instance whose short id is `short`, or None."""
        return self._shorts.get(short)

    def by_ip(self, ip: str) -> tuple[Instance, ...]:
        """Return the instances that have the IP address `ip` (in its canonical spelling)."""
        return tuple(self._by_ip.get(ip, {}).values())

    def instance_count(self, label: str) -> int:
        """Return how many instances the service has."""
        return len(self._services.get(label, ()))

    def lived_of(self, label: str) -> tuple[Lived, ...]:
        """Return the instances of one service; none when it is not there."""
        return tuple(Lived(i, self.heartbeat_at(i.key)) for i in self._services.get(label, {}).values())

    def digest_of(self, label: str) -> str:
        """Return the digest of a catalogue that has this service alone."""
        return digest_text(reduce(xor, map(instance_digest, self._services.get(label, {}).values()), 0))

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that are equal for equal catalogues, whatever their history.

        The exclusive or of one BLAKE2 hash for each instance, so that a change costs one hash.
        Heartbeats are left out.
        """
        return digest_text(self._digest)

    def snapshot(self, cursor: Cursor) -> Snapshot:
        """Return everything, to be read from `cursor` on."""
        return Snapshot(cursor, tuple(Lived(i, self.heartbeat_at(i.key)) for i in self))

    # -- changes

    def apply(self, event: Event) -> str | None:
        """Apply one event; return the label of the service whose lookups it changed, or None."""
        match event:
            case Registered(instance=instance, heartbeat_at=at):
                self._heartbeats[instance.key] = at
                return self._put(instance)
            case StatusChanged(key=key, status=status):
                held = self.get(key)
                return None if held is None else self._put(msgspec.structs.replace(held, status=status))
            case Deregistered(key=key) | Expired(key=key):
                return self._remove(key)
            case Renewed(key=key, heartbeat_at=at):
                if key in self._heartbeats:
                    self._heartbeats[key] = at
                return None

    def remove_service(self, label: str) -> int:
        """Drop a service with all its instances; return how many they were."""
        return sum(self._remove(i.key) is not None for i in tuple(self._services.get(label, {}).values()))

    def replace(self, instances: Iterable[Lived]) -> set[str]:
        """Become the catalogue that holds just `instances`; return the labels that changed."""
        wanted = {lived.instance.key: lived for lived in instances}
        gone = [i.key for i in self if i.key not in wanted]
        changed = {key.label for key in gone if self._remove(key)}
        return changed | self.merge(wanted.values())

    def merge(self, instances: Iterable[Lived]) -> set[str]:
        """Add or update `instances` and drop nothing; return the labels that changed."""
        changed: set[str] = set()
        for lived in instances:
            self._heartbeats[lived.instance.key] = lived.heartbeat_at
            label = self._put(lived.instance)
            if label is not None:
                changed.add(label)
        return changed

    def _put(self, instance: Instance) -> str | None:
        key = instance.key
        held = self.get(key)
        if held == instance:
            return None
        if held is not None:
            self._unindex(held)
        self._services.setdefault(key.label, {})[key.instance_id] = instance
        self._found.pop(key.label, None)
        self._holders[instance.address] = instance
        self._shorts[short_id(instance.service_name, instance.instance_id)] = instance
        for ip in instance.addresses:
            self._by_ip.setdefault(ip, {})[key] = instance
        self._digest ^= instance_digest(instance)
        self._size += held is None
        return key.label

    def _remove(self, key: InstanceKey) -> str | None:
        instances = self._services.get(key.label)
        held = instances.pop(key.instance_id, None) if instances is not None else None
        if instances is None or held is None:
            return None
        if not instances:
            del self._services[key.label]
        self._found.pop(key.label, None)
        self._heartbeats.pop(key, None)
        self._shorts.pop(short_id(held.service_name, held.instance_id), None)
        self._unindex(held)
        self._size -= 1
        return key.label

    def _unindex(self, held: Instance) -> None:
        key = held.key
        # The address may have gone to its next holder already, when a view is behind by one event.
        holder = self._holders.get(held.address)
        if holder is not None and holder.key == key:
            del self._holders[held.address]
        for ip in held.addresses:
            sharing = self._by_ip.get(ip)
            if sharing is not None:
                sharing.pop(key, None)
                if not sharing:
                    del self._by_ip[ip]
        self._digest ^= instance_digest(held)


def digest_text(digest: int) -> str:
    """Return a digest as it is written."""
    return f"{digest:016x}"


def instance_digest(instance: Instance) -> int:
    """Return what one instance adds to the digest of a catalogue (exclusive or)."""
    return int.from_bytes(hashlib.blake2b(_ENCODER.encode(instance), digest_size=8).digest())
