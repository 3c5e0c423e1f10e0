"""Collects a snapshot while it arrives: the services that fit into the view, and the names of the rest. Pure.

A fleet that fits is kept whole. Of a larger one it never holds more than the view itself may, however long the
snapshot is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent.view.lru import ServiceLru
from registry_core.domain.catalog import Catalog, Lived, share
from registry_core.domain.digest import instance_digest
from registry_core.domain.footprint import SERVICE_BYTES, instance_bytes
from registry_core.domain.records import Instance
from registry_core.watch.stage import Absent, Rest, absent_of


class Staging:
    """A stage with the limits of a view; it prefers services that the view holds because they were looked up."""

    def __init__(self, held: Catalog, lru: ServiceLru) -> None:
        """`held` and `lru` belong to the view, and are only read."""
        self._held = held
        self._places = lru
        self._lru = ServiceLru(lru.limits, lru.own)
        self._kept: dict[str, list[Lived]] = {}
        self._absent: dict[str, Absent] = {}
        self._digest = 0

    def add(self, instances: Iterable[Lived]) -> None:
        for lived in instances:
            self._add(lived)

    def taken(self) -> tuple[tuple[Lived, ...], Rest]:
        kept = tuple(lived for instances in self._kept.values() for lived in instances)
        sizes = {label: self._lru.size_of(label) for label in self._kept}
        return kept, Rest(self._absent, self._digest, sizes)

    def _add(self, lived: Lived) -> None:
        instance = lived.instance
        label = instance.key.label
        if label in self._absent:
            self._pass_over(label, instance)
            return
        held = self._held.get(instance.key)
        if held == instance:
            lived = Lived(held, lived.heartbeat_at)  # avoids a second copy in memory
        else:
            share(instance)
        self._kept.setdefault(label, []).append(lived)
        self._lru.put(label, (self._lru.size_of(label) or SERVICE_BYTES) + instance_bytes(instance))
        if self._places.wants(label):
            self._lru.asked(label)
        while (gone := self._lru.give_up()) is not None:
            for one in self._kept.pop(gone):
                self._pass_over(gone, one.instance)
            self._lru.names = len(self._absent)

    def _pass_over(self, label: str, instance: Instance) -> None:
        self._digest ^= instance_digest(instance)
        known = self._absent.get(label)
        self._absent[label] = absent_of([instance]) if known is None else known.joined_by(instance)


def size_of(instances: Iterable[Instance]) -> int:
    """Return the bytes that a service with these instances takes in a view."""
    return SERVICE_BYTES + sum(map(instance_bytes, instances))


def labels_of(instances: Iterable[Lived], rest: Mapping[str, Absent]) -> set[str]:
    """Return the labels of all services of a snapshot."""
    return {lived.instance.key.label for lived in instances} | rest.keys()
