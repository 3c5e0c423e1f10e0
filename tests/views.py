"""A local view for tests: a catalogue with a settable age and completeness."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable

from registry_core.domain.catalog import Catalog
from registry_core.domain.names import label_of
from registry_core.domain.records import Instance, InstanceKey, Protocol, Service
from registry_core.watch.stage import transports_of
from tests.samples import lived


class StandingView:
    """A `LocalView` that changes when told to."""

    def __init__(self, instances: Iterable[Instance] = (), *, complete: bool = True) -> None:
        self.catalog = Catalog()
        self.complete = complete
        self.fallback = Catalog()  # used for what the view lacks, and while it is incomplete
        self.lacking: dict[str, asyncio.Future[None] | None] = {}  # by label: done when it is fetched
        self.drained: set[InstanceKey] = set()  # they have left SRV, too
        self._age_s = 0.0
        self._listeners: list[Callable[[frozenset[str]], None]] = []
        self.put(*instances)

    def find(self, name: str) -> Service | None:
        return self.catalog.find(name) or (self.fallback if self.lacks(name) else self.static).find(name)

    def lacks(self, name: str) -> bool:
        return label_of(name) in self.lacking

    def fetch(self, name: str) -> asyncio.Future[None] | None:
        return self.lacking.get(label_of(name))

    def labels(self) -> Collection[str]:
        return {*self.catalog.labels(), *self.lacking}

    def transports(self, label: str) -> frozenset[Protocol]:
        return frozenset(transport for i in self.catalog.lived(label) for transport in transports_of(i.instance))

    @property
    def holds_all(self) -> bool:
        return not self.lacking

    @property
    def static(self) -> Catalog:
        return Catalog() if self.complete else self.fallback

    def by_short(self, short: str) -> Instance | None:
        return self.catalog.by_short(short) or self.static.by_short(short)

    def by_ip(self, ip: str) -> tuple[Instance, ...]:
        return self.catalog.by_ip(ip)

    def has_drained(self, instance: Instance) -> bool:
        return instance.key in self.drained

    def age_s(self) -> float:
        return self._age_s

    def subscribe(self, listener: Callable[[frozenset[str]], None]) -> None:
        self._listeners.append(listener)

    def put(self, *instances: Instance) -> None:
        """Add or replace instances."""
        self._tell(self.catalog.merge(lived(i) for i in instances))

    def become(self, *instances: Instance) -> None:
        """Hold exactly these instances."""
        self._tell(self.catalog.replace(lived(i) for i in instances))

    def leave(self, *instances: Instance) -> None:
        """Have these drained for long enough to leave SRV."""
        self.drained |= {i.key for i in instances}
        self._tell({i.key.label for i in instances})

    def age(self, seconds: float) -> None:
        """Let the registry be silent for that long."""
        self._age_s = seconds
        for listener in self._listeners:
            listener(frozenset())

    def _tell(self, labels: set[str]) -> None:
        if labels:
            for listener in self._listeners:
                listener(frozenset(labels))
