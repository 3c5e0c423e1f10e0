"""The services that an agent holds, and the names of the rest. Pure.

A fleet that fits the limits is held whole. Of a larger one the view holds the services that are looked up; it
still follows every event, so that it knows all names and can check the registry's digest exactly:

    digest of the registry = digest of what is held, xor `rest`

An event of a held service changes the first part, which we compute. An event of any other service changes
`rest` by as much as it changed the registry's own digest. A service that is looked up is read separately, at a
cursor of its own; it already includes the events up to that cursor, so they are not applied again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Final

import msgspec

from agent.view.lru import ServiceLru, ViewLimits
from agent.view.staging import Staging, labels_of, size_of
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.digest import digest_number
from registry_core.domain.events import Deregistered, Event, Expired, Position, Registered, StatusChanged
from registry_core.domain.footprint import SERVICE_BYTES, instance_bytes
from registry_core.domain.records import Instance, InstanceKey
from registry_core.watch.cursor import Cursor
from registry_core.watch.stage import Absent, Rest, absent_of

# Events buffered for one service while it is being read. A service that changes faster is read again.
MAX_EXPECTED_EVENTS: Final = 1000
_NOWHERE: Final = Position(0, "", 0)  # an instance removed between two histories has no position in either


class _Expected(msgspec.Struct):
    """A service that is being read: the view's cursor when the read began, and the events since."""

    since: Cursor
    events: list[Event] = []
    spoiled: bool = False  # an event came that cannot be applied to the result


class LossGuard(msgspec.Struct, frozen=True):
    """A snapshot from a registry that has just started, which would have dropped more than half of the known services.

    It was rejected: the services it lacks stay until the registry is complete again.
    """

    known: int  # services that were known before it
    missing: int  # how many of them it lacked
    since: float  # the view's clock


class ViewCache:
    """The catalogue of held services, the names of the rest, and the order of eviction."""

    def __init__(self, limits: ViewLimits | None = None, own: frozenset[str] = frozenset()) -> None:
        """`own` are the labels of services that are always held."""
        self.catalog = Catalog(sockets=False)
        self.lru = ServiceLru(limits if limits is not None else ViewLimits(), own)
        self.absent: dict[str, Absent] = {}
        self.evictions = 0
        self._rest: int | None = 0  # None: unknown
        self._in_doubt = False  # part of the stream could not be read, so the difference is not the rest
        self._ahead: dict[str, Cursor] = {}  # services read at a cursor that the view has not reached yet
        self._expected: dict[str, _Expected] = {}
        self._unknown: set[str] = set()  # services with an event of an unknown kind

    def labels(self) -> set[str]:
        """Return the labels of all services, held or not."""
        return set(self.catalog.labels()) | self.absent.keys()

    def names(self) -> list[str]:
        """Return the names of all services, sorted."""
        if not self.absent:
            return self.catalog.names()
        return sorted([*self.catalog.names(), *(absent.name for absent in self.absent.values())])

    def adds_up(self, digest: str) -> bool:
        """Return whether the held services and the rest add up to the registry's `digest`.

        If the registry does not say how its events changed the digest, the difference is taken as the rest.
        """
        told = digest_number(digest)
        # While a service must be read again, the sum is right and what is held is not.
        if told is None or self._unknown or (self._rest is None and self._in_doubt):
            return False
        if self._rest is None:
            self._rest = told ^ self._digest
        return self._digest ^ self._rest == told

    def doubt(self) -> None:
        """Record that something could not be read, until the next full snapshot."""
        self._in_doubt = True

    # -- changes of the whole view

    def staging(self) -> Staging:
        """Return a staging area for the parts of a snapshot."""
        return Staging(self.catalog, self.lru)

    def replace(self, instances: Sequence[Lived], rest: Rest) -> set[str]:
        """Replace everything; return the labels whose content or existence changed."""
        before = self.absent
        changed = self.catalog.replace(instances)
        changed |= {label for label in before if label not in rest.absent}
        changed |= {label for label in rest.absent if label not in before}
        self.absent = dict(rest.absent)
        self._resettled(rest.digest, rest.sizes)
        return changed | self.make_room()

    def merge(self, instances: Sequence[Lived], rest: Rest) -> set[str]:
        """Add and update, but drop nothing; return the labels that changed."""
        changed = self.catalog.merge(instances)
        for label in labels_of(instances, {}):
            self.absent.pop(label, None)
        for label, absent in rest.absent.items():
            if label not in self.absent:
                changed.add(label)
            # The held records are outdated, and there is no room for the current ones.
            self.catalog.remove_service(label)
            self.absent[label] = absent
        self._resettled(rest.digest, {})  # a service may have more instances now than the snapshot
        return changed | self.make_room()

    def move(self, instances: Iterable[Lived], removed: Iterable[tuple[InstanceKey, int]] = ()) -> set[str]:
        """Continue under another history, in which `instances` are new or changed, and `removed` are gone.

        Each of `removed` comes with the number of instances its service has left. Returns the labels that changed.
        """
        self._ahead.clear()
        self._expected.clear()  # reads under way belong to the old one
        by_label: dict[str, list[Lived]] = {}
        for lived in instances:
            by_label.setdefault(lived.instance.key.label, []).append(lived)
        changed: set[str] = set()
        for label, of_it in by_label.items():
            there = [lived.instance for lived in of_it]
            known = self.absent.get(label)
            if known is not None:
                self._rest = None  # nothing says what changed in it
                joined = self.absent[label] = reduce(Absent.joined_by, there, known)
                if joined is not known:
                    changed.add(label)
            elif self._has_no_room(label, there):
                self._rest = None
                self._put_away(label, absent_of(there))
                changed.add(label)
            else:
                changed |= self.catalog.merge(of_it)
                self._measure(label)
        for key, left in removed:
            changed |= self._taken_out(key, left)
        return changed | self.make_room()

    def _taken_out(self, key: InstanceKey, left: int) -> set[str]:
        event = Deregistered(_NOWHERE, key)
        if key.label in self.absent:
            self._rest = None
            return self._apply_to_absent(event, left)
        before = self._size_of(key)
        if self.catalog.apply(event) is None:
            return set()
        self._resize(key.label, -before)
        return {key.label}

    def loss(self, instances: Iterable[Lived], rest: Rest, now: float) -> LossGuard | None:
        """Return what a snapshot would drop if that is more than half of the known services, else None."""
        known = self.labels()
        missing = len(known - labels_of(instances, rest.absent))
        return LossGuard(len(known), missing, now) if 2 * missing > len(known) else None

    def _resettled(self, rest: int, sizes: Mapping[str, int]) -> None:
        self._rest, self._in_doubt = rest, False
        self._unknown.clear()
        self._ahead.clear()
        self._expected.clear()  # reads under way may be older
        for label in tuple(self.catalog.labels()):
            if label in sizes:
                self.lru.put(label, sizes[label])
            else:
                self._measure(label)
        for label in self.lru.labels():
            if not self.catalog.instance_count(label):
                self.lru.leave(label)
        self.lru.names = len(self.absent)

    # -- one event

    def apply(self, event: Event, *, change: int | None = None, count: int = -1) -> set[str]:
        """Apply one event; return the labels of the services whose lookups it changed.

        `change` is its effect on the registry's digest, and `count` the number of instances the service has after it;
        None and -1 if the registry does not say.
        """
        key = event.key
        label = key.label
        expected = self._expected.get(label)
        if expected is not None:
            expected.events.append(event)
            expected.spoiled = expected.spoiled or len(expected.events) > MAX_EXPECTED_EVENTS
        if label in self.absent:
            self._shift_rest(change)
            return self._apply_to_absent(event, count)
        if self._has_happened(label, event.position):
            self._shift_rest(change)
            return set()
        if isinstance(event, Registered) and self._has_no_room(label, [event.instance]):
            self._shift_rest(change)
            self._put_away(label, absent_of([event.instance]))
            return {label} | self.make_room()  # a name takes room, too
        has_its_size = isinstance(event, StatusChanged)
        before, digest = 0 if has_its_size else self._size_of(key), self._digest
        changed = self.catalog.apply(event)
        if label in self._unknown:  # applied to an old record, it does something else here than at the registry
            self._shift_rest(None if change is None else change ^ digest ^ self._digest)
        if changed is None:
            return set()
        if not has_its_size:
            self._resize(label, self._size_of(key) - before)
        return {label, *self.make_room()}

    def happened_unknown(self, label: str, change: int | None, cursor: Cursor) -> bool:
        """Record an event of an unknown kind, with the view at `cursor`; return whether its service must be read again.

        An empty label means that the service is not known.
        """
        if not label:
            self._in_doubt = True
            return False
        expected = self._expected.get(label)
        if expected is not None:
            expected.spoiled = True
        # As for a service that is not held: the registry's digest has changed, and what is held has not.
        self._shift_rest(change)
        if label in self.absent or ((ahead := self._ahead.get(label)) is not None and _is_after(ahead, cursor)):
            return False
        self._unknown.add(label)
        return True

    def _apply_to_absent(self, event: Event, count: int) -> set[str]:
        label, known = event.key.label, self.absent[event.key.label]
        match event:
            case Registered(instance=instance):
                self.absent[label] = known.joined_by(instance)
                return set() if self.absent[label] is known else {label}
            case Deregistered() | Expired() if count == 0:
                self._bring_back(label)
                return {label}
            case _:
                return set()

    def _has_no_room(self, label: str, instances: Sequence[Instance]) -> bool:
        """Return whether these instances, if they are a new service, would have to evict another one."""
        if self.catalog.instance_count(label) or label in self.lru.own:
            return False
        return not self.lru.fits(size_of(instances))

    def _has_happened(self, label: str, position: Position) -> bool:
        ahead = self._ahead.get(label)
        if ahead is None:
            return False
        if _is_up_to(position, ahead):
            return True
        del self._ahead[label]
        return False

    # -- services that are looked up

    def asked(self, label: str) -> None:
        """Record a lookup of `label`."""
        self.lru.asked(label)

    def expect(self, label: str, since: Cursor) -> None:
        """Begin the read of a service that is not held, with the view at `since`."""
        self._expected[label] = _Expected(since)

    def give_up(self, label: str) -> None:
        """End the read of a service without a result."""
        self._expected.pop(label, None)

    def take(self, label: str, instances: Sequence[Lived], cursor: Cursor, digest: str) -> set[str] | None:
        """Apply a service as read at `cursor`, with its own `digest`; return the labels that changed.

        Returns None, and applies nothing, if the read is older than the view, of another history, or does not match
        the digest.
        """
        expected = self._expected.pop(label, None)
        if expected is None or expected.spoiled or not _is_after(cursor, expected.since):
            return None
        absent = label in self.absent
        if not absent and label not in self._unknown:
            return set()
        read = Catalog(sockets=False)
        read.merge(instances)
        if read.digest != digest or set(read.labels()) - {label}:
            return None
        before = self._digest
        self._unknown.discard(label)
        if absent:
            self._bring_back(label)
        else:
            self.catalog.remove_service(label)
        self.catalog.merge(instances)
        for event in expected.events:
            if not _is_up_to(event.position, cursor):
                self.catalog.apply(event)
        if self._rest is not None:
            self._rest ^= before ^ self._digest
        self._ahead[label] = cursor
        if self.catalog.instance_count(label):
            self._measure(label)
            self.lru.asked(label)
        else:
            self.lru.leave(label)
        return {label} | self.make_room()

    def reached(self, cursor: Cursor) -> None:
        """Forget the services that were ahead of the view and that it has reached at `cursor`."""
        self._ahead = {label: at for label, at in self._ahead.items() if not _is_after(cursor, at)}

    @property
    def unknown(self) -> frozenset[str]:
        """The services that must be read again, after an event of an unknown kind."""
        return frozenset(self._unknown)

    def wanted_back(self, most: int) -> list[str]:
        """Return up to `most` services that fit again, because the fleet has become smaller."""
        if not self.absent:
            return []
        held = max(1, len(self.lru))
        estimate = self.lru.bytes + len(self.absent) * (self.lru.bytes // held)
        limits = self.lru.limits
        # Leave a margin, or what is read now would be evicted at once.
        if len(self.lru) + len(self.absent) > limits.services or estimate > limits.bytes * 0.9:
            return []
        return sorted(self.absent)[:most]

    # -- eviction

    def make_room(self) -> set[str]:
        """Evict services until the limits are met; return their labels."""
        gone: set[str] = set()
        while (label := self.lru.give_up()) is not None:
            before = self._digest
            absent = absent_of([lived.instance for lived in self.catalog.lived(label)])
            self.catalog.remove_service(label)
            if self._rest is not None:
                self._rest ^= before ^ self._digest
            self._put_away(label, absent)
            self._unknown.discard(label)
            self.evictions += 1
            gone.add(label)
        return gone

    @property
    def _digest(self) -> int:
        return self.catalog.digest_number

    def _shift_rest(self, change: int | None) -> None:
        """Change the rest by as much as the registry's digest changed."""
        self._rest = None if self._rest is None or change is None else self._rest ^ change

    def _size_of(self, key: InstanceKey) -> int:
        instance = self.catalog.get(key)
        return 0 if instance is None else instance_bytes(instance)

    def _measure(self, label: str) -> None:
        self.lru.put(label, size_of(lived.instance for lived in self.catalog.lived(label)))

    def _resize(self, label: str, by: int) -> None:
        if self.catalog.instance_count(label):
            self.lru.put(label, (self.lru.size_of(label) or SERVICE_BYTES) + by)
        else:
            self.lru.leave(label)

    def _put_away(self, label: str, absent: Absent) -> None:
        self.absent[label] = absent
        self.lru.names = len(self.absent)

    def _bring_back(self, label: str) -> None:
        del self.absent[label]
        self.lru.names = len(self.absent)


def _is_up_to(position: Position, cursor: Cursor) -> bool:
    """Return whether a reader at `cursor` has seen the event at `position`."""
    seen = cursor.at(position.shard)
    return seen is not None and seen.epoch == position.epoch and position.revision <= seen.revision


def _is_after(cursor: Cursor, since: Cursor) -> bool:
    """Return whether a reader at `cursor` has seen everything that one at `since` has."""
    return bool(since.positions) and all(_is_up_to(position, cursor) for position in since.positions)
