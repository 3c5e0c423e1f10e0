"""Answers lookups from the view, independently of HTTP.

Only a lookup of a service that is not held waits, for a second at most. The answers have the same shape as the
registry's, so that a client may ask either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, NamedTuple

from agent.http.explain import Explanation, ExplanationInput, explained, near_misses
from agent.http.port_counts import LocalPortCounts
from agent.registration.member import ServiceReport
from agent.view.view import AgentView
from registry_core.api.schemas import InstanceView, ServiceView, instance_view, service_view
from registry_core.domain.names import NAME_EXAMPLE, check_known_name, label_of
from registry_core.domain.records import Instance, InstanceKey
from registry_core.domain.selection import ANY, Filter, Random, WhenNonePass, drawn, nearest, ranked, serving, why_none
from registry_core.errors import NotFound, Unavailable, ValidationError, Warming
from registry_core.usage.asked import AskedNames
from registry_core.watch.trust import READY

# A client that gets "cannot tell yet" may retry soon: the watch brings the answer by itself.
RETRY_AFTER_S: Final = 2.0
MOST_SHOWN: Final = 100
# What an explanation costs: of a name that is compared with others, and of each instance.
_MISSING_US: Final = 1500
_EACH_US: Final = 8
OWN: Final = "own"


class ViewTooOld(Unavailable):
    """Raised when the view lacks a name and is too old to rule it out."""


class NotHeld(Unavailable):
    """Raised when a known service is not held and could not be read from the registry in time."""


class LookupResult(NamedTuple):
    """The usable instances of a lookup, and the nearest of them. Neither is empty."""

    usable: tuple[Instance, ...]
    near: tuple[Instance, ...]


class Lookups:
    """Looks services up in `view`. `hits` and `misses` count whether the view had them; the port keeps `counts`."""

    def __init__(self, view: AgentView, *, zone: str, when_none_pass: WhenNonePass, random: Random) -> None:
        self._view = view
        self._zone = zone
        self._when_none_pass = when_none_pass
        self._random = random
        # Set by the composition root: returns this agent's own services.
        self.own: Callable[[], Iterable[ServiceReport]] = tuple
        self.hits = self.misses = 0
        self.counts = LocalPortCounts()
        self.asked = AskedNames()

    def prefer(self, zone: str, when_none_pass: WhenNonePass) -> None:
        """Set the zone, and the answer for services without passing instances."""
        self._zone, self._when_none_pass = zone, when_none_pass

    async def fetched(self, name: str) -> None:
        """Return once `name` is in the view, or cannot be read now."""
        waiting = self._view.fetch(name)
        if waiting is not None:
            # A cancelled lookup must not cancel the wait of others.
            await asyncio.wait([waiting])

    def service(self, name: str, wanted: Filter = ANY) -> ServiceView:
        """Return the usable instances, the nearest and heaviest first, and one picked.

        Raises ValidationError for an invalid name, NotFound when there are none, and Unavailable (Warming, ViewTooOld)
        when the agent cannot tell.
        """
        found = self.find(name, wanted)
        return service_view(self.shown(drawn(found.near, self._random)), self.ranked(found))

    def one(self, name: str, wanted: Filter = ANY) -> InstanceView:
        """Return one instance of the nearest zone, drawn by weight. Raises as `service` does."""
        return self.shown(drawn(self.find(name, wanted).near, self._random))

    def explanation_us(self, name: str) -> int:
        """Return what an explanation costs, in microseconds: an estimate."""
        found = self._view.services.find(label_of(name))
        return _MISSING_US if found is None else _EACH_US * len(found.instances)

    def explain(self, name: str, wanted: Filter = ANY) -> Explanation:
        """Return why a lookup answers as it does. Unknown and invalid names are explained too, not raised."""
        view = self._view
        try:
            check_known_name(name)
            found = view.services.find(label_of(name))
            missing = self._missing(name).message
        except ValidationError as error:
            found = None
            missing = f"{name[:MOST_SHOWN]!r} is not a valid service name: {error.message}"
        instances = found.instances if found is not None else ()
        registered = {i.key for i in instances if view.catalog.get(i.key) is not None}
        basis = ExplanationInput(
            service=found,
            source=self._source(instances, registered),
            age_s=view.age_s(),
            freshness=view.freshness,
            complete=view.complete,
            missing=missing if found is None else "",
            similar=self._similar(name[:MOST_SHOWN]) if found is None else (),
            ttl_remaining_s={key: view.ttl_remaining_s(key) for key in registered},
            unregistered=frozenset(i.key for i in instances if view.services.is_only_own(i.key)),
            local_zone=self._zone,
            when_none_pass=self._when_none_pass,
            checked={InstanceKey(label_of(one.service_name), one.instance_id): bool(one.checks) for one in self.own()},
            drained={i.key for i in instances if view.has_drained(i)},
        )
        return explained(name[:MOST_SHOWN], wanted, basis)

    def _similar(self, name: str) -> tuple[str, ...]:
        catalog = self._view.catalog
        found = (catalog.find(label) for label in near_misses(name, catalog.labels()))
        return tuple(service.name for service in found if service is not None)

    def _source(self, instances: Sequence[Instance], registered: Collection[InstanceKey]) -> str:
        if registered:
            return "view" if self._view.snapshots else "snapshot"
        if not instances:
            return ""
        return OWN if self._view.services.is_only_own(instances[0].key) else str(instances[0].metadata["source"])

    def ranked(self, found: LookupResult) -> list[InstanceView]:
        """Return all usable instances, the nearest and heaviest first."""
        return [self.shown(i) for i in ranked(found.usable, self._zone)]

    def find(self, name: str, wanted: Filter = ANY) -> LookupResult:
        """Return the usable instances, and those of the nearest zone. Raises as `service` does."""
        check_known_name(name)
        service = self._view.find(name)
        self.asked.add(label_of(name), is_found=service is not None)
        if service is None:
            self.misses += 1
            raise self._missing(name)
        self.hits += 1
        usable = serving(service.instances, wanted, self._when_none_pass)
        if not usable:
            if not self._view.complete:
                raise self.cannot_tell(f"whether {name!r} has a usable instance")
            raise NotFound(why_none(service, wanted), field="service_name", provided=name)
        return LookupResult(usable, nearest(usable, self._zone))

    def _missing(self, name: str) -> NotFound | Unavailable:
        if self._view.lacks(name):
            return NotHeld(
                f"{name!r} is registered but not held here, and could not be read from the registry in time",
                retry_after_s=RETRY_AFTER_S,
            )
        if self._view.complete:
            return NotFound(
                f"no service {name!r} is registered", field="service_name", provided=name, example=NAME_EXAMPLE
            )
        return self.cannot_tell(f"whether {name!r} exists")

    def names(self) -> list[str]:
        """Return the names of all known services, sorted. Raises Unavailable when none is known, but some may exist."""
        names = self._view.services.names()
        if not names and not self._view.complete:
            raise self.cannot_tell("which services exist")
        return names

    def cannot_tell(self, what: str) -> Unavailable:
        """Return the error for a question that the view cannot answer with certainty."""
        if not self._view.loaded:
            return Warming(
                f"this agent has heard nothing from the registry yet, and cannot tell {what}",
                retry_after_s=RETRY_AFTER_S,
            )
        if self._view.trust.state != READY:
            return Warming(f"the registry has just started, and cannot tell yet {what}", retry_after_s=RETRY_AFTER_S)
        return ViewTooOld(
            f"what this agent knows is {self._view.age_s():.0f} s old, too old to tell {what}",
            retry_after_s=RETRY_AFTER_S,
        )

    def shown(self, instance: Instance) -> InstanceView:
        key = instance.key
        return instance_view(instance, self._view.heartbeat_at(key), self._view.ttl_remaining_s(key))
