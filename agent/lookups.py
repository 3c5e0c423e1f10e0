"""What a lookup at the agent answers: from the view, apart from HTTP. Nothing here waits.

The answers have the shape of the registry's own, so that a client may ask either.
"""

from __future__ import annotations

from typing import Final

from agent.view import READY, View
from registry_core.api.schemas import InstanceView, ServiceView, instance_view, service_view
from registry_core.domain.names import NAME_EXAMPLE, check_service_name
from registry_core.domain.records import Instance
from registry_core.domain.selection import ANY, Filter, Random, WhenNonePass, pick, ranked, serving, why_none
from registry_core.errors import NotFound, Unavailable, Warming

# A client that is told "cannot tell yet" asks again soon: the watch brings the answer by itself.
RETRY_AFTER_S: Final = 2.0


class ViewTooOld(Unavailable):
    """Raised when a name is not in the view, and the view is too old to say that it does not exist."""


class Lookups:
    """Looks services up in `view`. `hits` and `misses` count whether the view had them."""

    def __init__(self, view: View, *, zone: str, when_none_pass: WhenNonePass, random: Random) -> None:
        self._view = view
        self._zone = zone
        self._when_none_pass = when_none_pass
        self._random = random
        self.hits = self.misses = 0

    def prefer(self, zone: str, when_none_pass: WhenNonePass) -> None:
        """Answer for this zone, and so, from now on."""
        self._zone, self._when_none_pass = zone, when_none_pass

    def names(self) -> list[str]:
        """Return the names of all services, sorted."""
        return self._view.catalog.names()

    def service(self, name: str, wanted: Filter = ANY) -> ServiceView:
        """Return the instances that may be used, the nearest and heaviest first, and one picked.

        Raises ValidationError for what is no name, NotFound when there are none, and Unavailable
        (Warming, ViewTooOld) when that cannot be told.
        """
        usable, picked = self._find(name, wanted)
        return service_view(self._shown(picked), [self._shown(i) for i in ranked(usable, self._zone)])

    def one(self, name: str, wanted: Filter = ANY) -> InstanceView:
        """Return one instance, of the nearest zone, drawn by weight. Raises as `service` does."""
        return self._shown(self._find(name, wanted)[1])

    def _find(self, name: str, wanted: Filter) -> tuple[tuple[Instance, ...], Instance]:
        check_service_name(name)
        service = self._view.catalog.find(name) or self._view.elsewhere.find(name)
        if service is None:
            self.misses += 1
            raise self._missing(name)
        self.hits += 1
        usable = serving(service.instances, wanted, self._when_none_pass)
        picked = pick(usable, self._random, self._zone)
        if picked is None:
            if not self._view.complete:
                raise self._cannot_tell(f"whether {name!r} has an instance that may be used")
            raise NotFound(why_none(service, wanted), field="service_name", provided=name)
        return usable, picked

    def _missing(self, name: str) -> NotFound | Unavailable:
        if self._view.complete:
            return NotFound(
                f"no service {name!r} is registered", field="service_name", provided=name, example=NAME_EXAMPLE
            )
        return self._cannot_tell(f"whether {name!r} exists")

    def _cannot_tell(self, what: str) -> Unavailable:
        if not self._view.loaded:
            return Warming(
                f"this agent has heard nothing from the registry yet, and cannot tell {what}",
                retry_after_s=RETRY_AFTER_S,
            )
        if self._view.state != READY:
            return Warming(f"the registry has just started, and cannot tell yet {what}", retry_after_s=RETRY_AFTER_S)
        return ViewTooOld(
            f"what this agent knows is {self._view.age_s():.0f} s old, too old to tell {what}",
            retry_after_s=RETRY_AFTER_S,
        )

    def _shown(self, instance: Instance) -> InstanceView:
        key = instance.key
        return instance_view(instance, self._view.catalog.heartbeat_at(key), self._view.ttl_remaining_s(key))
