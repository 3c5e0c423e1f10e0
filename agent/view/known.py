"""The services that an agent answers for: those of the registry, its own, and the static ones. Pure.

The registry's records come first. This agent's own instances are added where the registry does not have them, whatever
the reason: a registration that was refused or has expired is no absence, and the agent knows its own services best.
Static ones answer only for names that nothing else has, while the view cannot rule these out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from agent.view.cache import ViewCache
from agent.view.fallback import Fallback
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.records import Instance, InstanceKey, Protocol, Service
from registry_core.watch.stage import transports_of

_NO_FALLBACK: Final = Fallback()


class KnownServices:
    """The services of one agent. `is_complete` returns whether a name that the registry's part lacks does not exist."""

    def __init__(self, cache: ViewCache, fallback: Fallback | None, is_complete: Callable[[], bool]) -> None:
        self._cache = cache
        self._catalog = cache.catalog
        self._own = Catalog(sockets=False)
        self._fallback = fallback if fallback is not None else _NO_FALLBACK
        self._is_complete = is_complete

    def use_own(self, instances: Iterable[Instance]) -> set[str]:
        """Replace this agent's own instances; return the labels that changed."""
        return self._own.replace(Lived(instance, 0.0) for instance in instances)

    def use_fallback(self, fallback: Fallback) -> None:
        """Replace the static services."""
        self._fallback = fallback

    def located(self, addresses: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
        """Set the addresses of the static services' host names; return the labels that changed."""
        return self._fallback.located(addresses)

    @property
    def static(self) -> Fallback:
        """The static services, for names that nothing else has; none while such a name does not exist."""
        return _NO_FALLBACK if self._is_complete() else self._fallback

    def find(self, label: str) -> Service | None:
        """Return the service of this label, or None. For one that is not held, only a static entry is known."""
        found = self._with_own(label)
        if found is not None:
            return found
        return (self._fallback if label in self._cache.absent else self.static).find(label)

    def names(self) -> list[str]:
        """Return the names of all services, held or not, sorted."""
        names = self._cache.names()
        more = [service.name for label in self._more_labels() if (service := self.find(label)) is not None]
        return sorted([*names, *more]) if more else names

    def labels(self) -> Collection[str]:
        """Return the labels of all services, held or not."""
        return self._cache.labels() | self._more_labels()

    def transports(self, label: str) -> frozenset[Protocol]:
        """Return the transports of the service: TCP, UDP or both."""
        absent = self._cache.absent.get(label)
        if absent is not None:
            return absent.transports
        known = (*self._catalog.lived(label), *self._own.lived(label))
        if not known:
            static = self.static.find(label)
            return frozenset().union(*map(transports_of, static.instances)) if static is not None else frozenset()
        return frozenset().union(*(transports_of(lived.instance) for lived in known))

    def by_short(self, short: str) -> Instance | None:
        """Return the instance whose short id is `short`, or None."""
        return self._catalog.by_short(short) or self._own.by_short(short) or self.static.by_short(short)

    def by_ip(self, ip: str) -> tuple[Instance, ...]:
        """Return the registered instances and this agent's own ones with this IP address, in its canonical spelling."""
        return (*self._catalog.by_ip(ip), *(i for i in self._own.by_ip(ip) if self.is_only_own(i.key)))

    def is_only_own(self, key: InstanceKey) -> bool:
        """Return whether an instance is this agent's own, and the registry does not have it."""
        return self._own.get(key) is not None and self._catalog.get(key) is None

    def _with_own(self, label: str) -> Service | None:
        """Return the registered instances of a service and this agent's own ones."""
        found, own = self._catalog.find(label), self._own.find(label)
        if own is None or found is None:
            return found or own
        missing = [i for i in own.instances if self.is_only_own(i.key)]
        if missing:
            # The registry may have it under another id, as an earlier agent registered it.
            places = {place for i in found.instances for place in _places(i)}
            missing = [i for i in missing if places.isdisjoint(_places(i))]
        if not missing:
            return found
        return Service(found.name, tuple(sorted([*found.instances, *missing], key=lambda i: i.instance_id)))

    def _more_labels(self) -> set[str]:
        """Return the labels of services that only this agent or its settings know."""
        more = [*self._own.labels(), *self.static.labels()]
        return {label for label in more if not self._catalog.instance_count(label) and label not in self._cache.absent}


def _places(instance: Instance) -> set[tuple[str, int, Protocol]]:
    return {(host, instance.port, instance.protocol) for host in (instance.host, *instance.addresses)}
