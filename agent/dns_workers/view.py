"""The view of a DNS worker: what its agent last said. It decides nothing about what is true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Final

from agent.dns_workers.wire import Services, ViewState
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.events import Deregistered, Position
from registry_core.domain.freshness import Freshness, freshness_of
from registry_core.domain.names import label_of
from registry_core.domain.records import Protocol, Service
from registry_core.ports import Clock, StaticServices
from registry_core.watch.stage import transports_of

_NO_FALLBACK: Final = Catalog()
_NOWHERE: Final = Position(0, "", 0)  # the agent keeps the history


class Mirror:
    """A `LocalView` that is told everything. An agent that falls silent makes it grow old."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._catalog = Catalog()
        self._fallback = Catalog()
        self._listeners: list[Callable[[frozenset[str]], None]] = []
        self._said = ViewState(complete=False, age_s=0.0)
        self._said_at = clock.monotonic()
        self._shown = (self.complete, self._freshness)
        self._absent: dict[str, frozenset[Protocol]] = {}
        self._asked: set[str] = set()  # since the last `asked`
        self._quiet: set[str] = set()  # held, and not asked for since the last tidy-up
        # Set by who can do it: has the agent read a service.
        self.fetcher: Callable[[str], asyncio.Future[None] | None] | None = None

    @property
    def catalog(self) -> Catalog:
        """All that is known."""
        return self._catalog

    @property
    def complete(self) -> bool:
        """Whether a name that is missing is known not to exist: not by who has heard nothing for too long."""
        return self._said.complete and self._freshness is not Freshness.EXPIRED

    @property
    def static_services(self) -> StaticServices:
        """What the environment or a file says of services that are not in the view."""
        return _NO_FALLBACK if self.complete else self._fallback

    @property
    def holds_all(self) -> bool:
        """Whether every service that is known is held."""
        return not self._absent

    def labels(self) -> Collection[str]:
        """Return the labels of all services, held or not."""
        return {*self._catalog.labels(), *self._absent}

    def transports(self, label: str) -> frozenset[Protocol]:
        """Return TCP, UDP or both: what the service is reached by."""
        absent = self._absent.get(label)
        if absent is not None:
            return absent
        return frozenset().union(*(transports_of(i.instance) for i in self._catalog.lived(label)))

    def find(self, name: str) -> Service | None:
        """Return a service, and take note that it was asked for."""
        label = label_of(name)
        found = self._catalog.find(label)
        if found is not None:
            self._asked.add(label)
            self._quiet.discard(label)
            return found
        return (self._fallback if self.lacks(label) else self.static_services).find(label)

    def lacks(self, name: str) -> bool:
        """Whether there is such a service and it is not held."""
        return label_of(name) in self._absent

    def fetch(self, name: str) -> asyncio.Future[None] | None:
        """Have the agent read a service that is lacking; None when it is not."""
        return self.fetcher(label_of(name)) if self.fetcher is not None and self.lacks(name) else None

    def asked(self) -> tuple[str, ...]:
        """Return what was asked for since the last time, as far as that matters to anybody."""
        asked, self._asked = self._asked, set()
        return () if self.holds_all else tuple(asked)

    def tidy(self) -> None:
        """Have the answers made anew that nobody was seen asking for, so that the next question is seen."""
        if not self.holds_all and self._quiet:
            self._tell(frozenset(self._quiet))
        self._quiet = set(self._catalog.labels())

    def age_s(self) -> float:
        """Seconds since the registry confirmed what is known: what the agent said, and the time since then."""
        return self._said.age_s + max(0.0, self._clock.monotonic() - self._said_at)

    @property
    def _freshness(self) -> Freshness:
        return freshness_of(self.age_s())

    def subscribe(self, listener: Callable[[frozenset[str]], None]) -> None:
        """Have `listener` called with the labels that changed; with none when all answers may have."""
        self._listeners.append(listener)

    def take(self, services: Services) -> None:
        """Hold of these services just what is given."""
        changed = {label for label, instances in services.instances.items() if _hold(self._catalog, label, instances)}
        for label in services.instances:
            absent = services.absent.get(label)
            if absent != self._absent.get(label):
                changed.add(label)
            if absent is None:
                self._absent.pop(label, None)
            else:
                self._absent[label] = absent
        for label, entries in services.static_services.items():
            if _hold(self._fallback, label, [Lived(entry, 0.0) for entry in entries]):
                changed.add(label)
        if changed:
            self._tell(frozenset(changed))

    def confirm(self, state: ViewState) -> None:
        """Be as sure as the agent is."""
        self._said, self._said_at = state, self._clock.monotonic()
        self.tick()

    def tick(self) -> None:
        """Tell the listeners when time alone has changed what answers say."""
        shown = (self.complete, self._freshness)
        if shown != self._shown:
            self._shown = shown
            self._tell(frozenset())

    def _tell(self, labels: frozenset[str]) -> None:
        for listener in self._listeners:
            listener(labels)


def _hold(catalog: Catalog, label: str, instances: Sequence[Lived]) -> bool:
    """Have `catalog` hold of a service just these; return whether it held others."""
    kept = {lived.instance.key for lived in instances}
    held = catalog.find(label)
    gone = [i.key for i in held.instances if i.key not in kept] if held is not None else []
    for key in gone:
        catalog.apply(Deregistered(_NOWHERE, key))
    return bool(catalog.merge(instances) or gone)
