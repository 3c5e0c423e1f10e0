"""The materialised view: every service and instance, indexed by name, short id, socket and address.

It is the sum of the events applied to it, and nothing else changes it. Applying an event twice is
the same as applying it once. Lookups are dictionary lookups; they take no lock and never wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from operator import xor
from sys import intern
from typing import Any, Final

import msgspec
from msgspec.structs import force_setattr

from registry_core.domain.digest import digest_text, instance_digest
from registry_core.domain.events import Deregistered, Event, Expired, Registered, Renewed, StatusChanged
from registry_core.domain.names import label_of, short_id, unmapped_ip
from registry_core.domain.records import Instance, InstanceKey, Service, Status

# Fields that most instances of a service share, with few values in the whole fleet.
_OFTEN_EQUAL: Final = ("service_name", "health_endpoint", "version", "zone")
_SHORT: Final = 32  # longer metadata values are seldom shared
_NO_METADATA: Final[dict[str, Any]] = {}


class Lived(msgspec.Struct, frozen=True, gc=False):
    """An instance and the time of its last heartbeat (Unix seconds, the store's clock)."""

    instance: Instance
    heartbeat_at: float


class Catalog:
    """All services of one replica or of one agent's view. Only with `sockets` does it know who holds one."""

    def __init__(self, *, sockets: bool = True) -> None:
        self._sockets = sockets
        self._services: dict[str, dict[str, Instance]] = {}
        self._found: dict[str, Service] = {}  # results of find(), dropped when they change
        self._lived: dict[InstanceKey, Lived] = {}
        # These have keys, which stay when a status changes.
        self._holders: dict[str, InstanceKey] = {}  # by socket
        self._shorts: dict[str, InstanceKey] = {}
        # The key itself when there is one, as nearly always; a dictionary of several: a host may have thousands.
        self._by_ip: dict[str, InstanceKey | dict[InstanceKey, None]] = {}
        self._digest = 0

    def __len__(self) -> int:
        """The number of instances."""
        return len(self._lived)

    def __iter__(self) -> Iterator[Instance]:
        for lived in self._lived.values():
            yield lived.instance

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
        held = self._lived.get(key)
        return None if held is None else held.instance

    def lived_of(self, key: InstanceKey) -> Lived | None:
        """Return one instance with its last heartbeat, or None."""
        return self._lived.get(key)

    def heartbeat_at(self, key: InstanceKey) -> float:
        """Return the time of the last heartbeat of `key`, Unix seconds; 0.0 when it is not registered."""
        held = self._lived.get(key)
        return 0.0 if held is None else held.heartbeat_at

    def holders(self, sockets: Iterable[str]) -> tuple[Instance, ...]:
        """Return the instances that hold any of these sockets, each once."""
        found = dict.fromkeys(map(self._holders.get, sockets))
        return self._instances(key for key in found if key is not None)

    def by_short(self, short: str) -> Instance | None:
        """Return the instance whose short id is `short`, or None."""
        key = self._shorts.get(short)
        return None if key is None else self.get(key)

    def by_ip(self, ip: str) -> tuple[Instance, ...]:
        """Return the instances with the IP address `ip` (in its canonical spelling)."""
        found = self._by_ip.get(ip)
        if found is None:
            return ()
        return self._instances(found if isinstance(found, dict) else (found,))

    def _instances(self, keys: Iterable[InstanceKey]) -> tuple[Instance, ...]:
        return tuple([self._lived[key].instance for key in keys])

    def instance_count(self, label: str) -> int:
        """Return how many instances the service has."""
        return len(self._services.get(label, ()))

    def digest_of(self, label: str) -> str:
        """Return the digest of a catalogue that holds only this service."""
        return digest_text(reduce(xor, map(instance_digest, self._services.get(label, {}).values()), 0))

    @property
    def digest(self) -> str:
        """16 hexadecimal digits, equal for equal catalogues whatever their history. It leaves out heartbeats."""
        return digest_text(self._digest)

    @property
    def digest_number(self) -> int:
        """The digest as a number; a change is the exclusive or of the digests before and after it."""
        return self._digest

    def all(self) -> tuple[Lived, ...]:
        """Return every instance with its last heartbeat. About 1 ms for 100,000 instances."""
        return tuple(self._lived.values())

    def lived(self, label: str) -> tuple[Lived, ...]:
        """Return the instances of the service with that label, with their last heartbeats."""
        return tuple(self._lived[i.key] for i in self._services.get(label, {}).values())

    # -- changes

    def apply(self, event: Event) -> str | None:
        """Apply one event; return the label of the service whose lookups it changed, or None."""
        match event:
            case Renewed(key=key, heartbeat_at=at):  # of these there are the most
                self.renewed(key, at)
                return None
            case Registered(instance=instance, heartbeat_at=at):
                return self._put(Lived(instance, at))
            case StatusChanged(key=key, status=status):
                held = self._lived.get(key)
                if held is None or held.instance.status is status:
                    return None
                return self._restate(key, held, status)
            case Deregistered(key=key) | Expired(key=key):
                return self._remove(key)

    def renewed(self, key: InstanceKey, heartbeat_at: float) -> Instance | None:
        """Take over a heartbeat; return its instance, or None when that is not registered."""
        held = self._lived.get(key)
        if held is None:
            return None
        self._lived[key] = Lived(held.instance, heartbeat_at)
        return held.instance

    def exchange(self, other: Catalog) -> None:
        """Swap contents with `other`, in constant time."""
        self.__dict__, other.__dict__ = other.__dict__, self.__dict__

    def shed(self, most: int) -> None:
        """Drop up to `most` instances of a catalogue that is no longer in use.

        Freeing all of a large catalogue at once would block the loop noticeably.
        """
        parts: tuple[dict[Any, Any], ...] = (
            self._lived,
            self._services,
            self._found,
            self._holders,
            self._shorts,
            self._by_ip,
        )
        for part in parts:
            for _ in range(min(most, len(part))):
                part.popitem()

    def remove_service(self, label: str) -> int:
        """Drop a service with all its instances; return how many there were."""
        return sum(self._remove(i.key) is not None for i in tuple(self._services.get(label, {}).values()))

    def replace(self, instances: Iterable[Lived]) -> set[str]:
        """Replace the content with `instances`; return the labels that changed."""
        wanted = {lived.instance.key: lived for lived in instances}
        gone = [key for key in self._lived if key not in wanted]
        changed = {key.label for key in gone if self._remove(key)}
        return changed | self.merge(wanted.values())

    def merge(self, instances: Iterable[Lived]) -> set[str]:
        """Add or update `instances` and drop nothing; return the labels that changed."""
        changed: set[str] = set()
        for lived in instances:
            label = self._put(lived)
            if label is not None:
                changed.add(label)
        return changed

    def _put(self, lived: Lived) -> str | None:
        instance = lived.instance
        key = instance.key
        before = self._lived.get(key)
        if before is not None and before.instance == instance:
            # Keep the record that is held, so that an equal one does not take memory twice.
            self._lived[key] = Lived(before.instance, lived.heartbeat_at)
            return None
        share(instance)
        key = InstanceKey(intern(key.label), instance.instance_id)
        self._lived[key] = lived
        if before is not None:
            self._unindex(before.instance)
        self._services.setdefault(key.label, {})[key.instance_id] = instance
        self._found.pop(key.label, None)
        self._index(key, instance)
        self._digest ^= instance_digest(instance)
        return key.label

    def _restate(self, key: InstanceKey, held: Lived, status: Status) -> str:
        """Change the status, the most frequent change by far: nothing else of the record is made or indexed anew."""
        before = held.instance
        instance = msgspec.structs.replace(before, status=status)
        self._lived[key] = Lived(instance, held.heartbeat_at)
        self._services[key.label][key.instance_id] = instance
        self._found.pop(key.label, None)
        self._digest ^= instance_digest(before) ^ instance_digest(instance)
        return key.label

    def _index(self, key: InstanceKey, instance: Instance) -> None:
        for socket in instance.sockets if self._sockets else ():
            self._holders[instance.instance_id if instance.instance_id == socket else socket] = key
        self._shorts[short_id(instance.service_name, instance.instance_id)] = key
        for ip in map(unmapped_ip, instance.addresses):
            there = self._by_ip.get(ip)
            if isinstance(there, dict):
                there[key] = None
            elif there is None or there == key:
                self._by_ip[ip] = key
            else:
                self._by_ip[ip] = {there: None, key: None}

    def _remove(self, key: InstanceKey) -> str | None:
        lived = self._lived.pop(key, None)
        if lived is None:
            return None
        held, instances = lived.instance, self._services[key.label]
        del instances[key.instance_id]
        if not instances:
            del self._services[key.label]
        self._found.pop(key.label, None)
        self._shorts.pop(short_id(held.service_name, held.instance_id), None)
        self._unindex(held)
        return key.label

    def _unindex(self, held: Instance) -> None:
        key = held.key
        # In a view that is one event behind, the address may already belong to its next holder.
        for socket in held.sockets if self._sockets else ():
            if self._holders.get(socket) == key:
                del self._holders[socket]
        for ip in map(unmapped_ip, held.addresses):
            there = self._by_ip.get(ip)
            if isinstance(there, dict):
                there.pop(key, None)
                if not there:
                    del self._by_ip[ip]
            elif there == key:
                del self._by_ip[ip]
        self._digest ^= instance_digest(held)


def share(instance: Instance) -> None:
    """Make an instance share equal strings with others: a decoder creates each anew, and there may be 100,000.

    A catalogue does this with each instance that it takes. Code that decodes many instances calls it right after
    each one, so that the freed memory is reused for the next. The values do not change: the record is frozen.
    """
    for field in _OFTEN_EQUAL:
        value = getattr(instance, field)
        if (shared_value := intern(value)) is not value:
            force_setattr(instance, field, shared_value)
    if instance.tags:
        force_setattr(instance, "tags", tuple(map(intern, instance.tags)))
    if not instance.metadata:
        force_setattr(instance, "metadata", _NO_METADATA)
    else:
        # The keys as well: which of them a decoder makes anew depends on the version of Python.
        shared = {
            intern(key): intern(value) if type(value) is str and len(value) <= _SHORT else value
            for key, value in instance.metadata.items()
        }
        force_setattr(instance, "metadata", shared)
    if instance.addresses and instance.addresses[0] == instance.host:
        force_setattr(instance, "host", instance.addresses[0])
