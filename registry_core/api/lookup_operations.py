"""The operations that only read: lookups of services, the list of their names, the catalogue.

They read the view and never wait. A service that is not there is `NotFound` only where that is certain.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from registry_core.api.calls import Call
from registry_core.api.queries import filter_of
from registry_core.api.schemas import CatalogView, InstanceView, ServiceView, instance_view, service_view
from registry_core.api.view import ReplicaState, ReplicaView, refuse_unknown
from registry_core.domain.catalog import Lived
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.names import NAME_EXAMPLE, check_known_name, label_of
from registry_core.domain.records import Instance, Service
from registry_core.domain.registration import Rules
from registry_core.domain.selection import Filter, Random, WhenNonePass, drawn, nearest, ranked, serving, why_none
from registry_core.errors import NotFound, StoreUnavailable, Warming
from registry_core.ports.reports import unread_in
from registry_core.ports.store import Store
from registry_core.telemetry.metrics import LOOKUP, ReplicaMetrics


class Policy(msgspec.Struct, frozen=True):
    """The choices that the domain leaves to the replica."""

    rules: Rules
    terms: LeaseTerms
    zone: str
    when_none_pass: WhenNonePass
    serves_loopback_alone: bool = False
    # For clients that take a 503 for a broken registry: say that a name does not exist while that is not known yet.
    denies_while_warming: bool = False


class UsableInstances(NamedTuple):
    """The instances that answer a lookup, ordered, and those of the nearest zone. Neither is empty."""

    ranked: tuple[Instance, ...]
    near: tuple[Instance, ...]


class LookupOperations:
    """They read one view. Each has the name of its row in the table of endpoints, as in `operations.py`."""

    def __init__(
        self, store: Store, view: ReplicaView, policy: Policy, *, metrics: ReplicaMetrics, random: Random
    ) -> None:
        self._store = store
        self._view = view
        self._policy = policy
        self._metrics = metrics
        self._random = random
        # Set by the composition root: counts the labels that are looked up.
        self.asked: Callable[[str], None] = lambda _label: None
        # The same way where the store cannot say it: which part of it is not in the view, in words; "" for none.
        self.lacking: Callable[[], str] = lambda: unread_in(store.shards())

    def services(self, _call: Call) -> list[str]:
        """Return the names of all services, sorted. Raises as `refuse_unknown_nothing` does."""
        if not self._policy.denies_while_warming or not self.is_warming():
            self.refuse_unknown_nothing()
        return self._view.catalog.names()

    def refuse_unknown_nothing(self) -> None:
        """Raise Warming or StoreUnavailable when the view holds nothing, and something may exist nevertheless."""
        if self._view.catalog.service_count:
            return
        self._refuse_while_warming("which services exist")
        reason = self.lacking()
        if reason:
            raise StoreUnavailable(f"it is unknown at present which services exist: {reason}")

    def is_warming(self) -> bool:
        """Return whether the view may lack anything, as far as that can be told for each lookup."""
        return self._view.state is ReplicaState.WARMING

    def may_lack(self) -> bool:
        """Return whether the view may lack services: it is warming, or part of the store cannot be read."""
        return self.is_warming() or bool(self.lacking())

    def service(self, call: Call) -> ServiceView:
        """Return the instances that a client may use, and one picked from them. Raises as `usable` does."""
        found = self.usable(call.path["service"], filter_of(call.query))
        views = [self.shown_now(instance) for instance in found.ranked]
        return service_view(self.shown_now(drawn(found.near, self._random)), views)

    def usable(self, service_name: str, wanted: Filter) -> UsableInstances:
        """Return the instances of a service that a client may use, and count the lookup.

        Raises ValidationError for what is no name, NotFound when there are none, Warming or StoreUnavailable when that
        is unknown.
        """
        zone = self._policy.zone
        with self._metrics.operation(LOOKUP):
            check_known_name(service_name)
            self.asked(label_of(service_name))
            service = self._service(service_name)
            usable = serving(service.instances, wanted, self._policy.when_none_pass)
            if not usable:
                self._refuse_unless_known(service_name)
                raise NotFound(why_none(service, wanted), field="service_name", provided=service_name)
        return UsableInstances(ranked(usable, zone), nearest(usable, zone))

    def catalog(self) -> tuple[CatalogView, tuple[Lived, ...]]:
        """Return the frame of the whole catalogue and its instances, both as of one moment."""
        view = self._view
        with self._metrics.operation("catalog"):
            age_s = view.store_age_s()
            frame = CatalogView(
                cursor=str(view.cursor),
                digest=view.catalog.digest,
                state=view.state.value,
                store_age_s=round(age_s, 3) if math.isfinite(age_s) else None,
                instances=[],
            )
            return frame, view.catalog.all()

    def shown(self, lived: Lived) -> InstanceView:
        """Return one instance of the catalogue as lookups show it."""
        instance = lived.instance
        return instance_view(instance, self._view.heartbeat_at(lived), self._view.ttl_remaining_s(instance.key))

    def shown_now(self, instance: Instance) -> InstanceView:
        """Return one instance as lookups show it, with its last heartbeat as of now."""
        return self.shown(Lived(instance, self._view.catalog.heartbeat_at(instance.key)))

    def _service(self, name: str, *, may_warm: bool = True) -> Service:
        service = self._view.catalog.find(name)
        if service is None:
            self._refuse_unless_known(name, may_warm=may_warm)
            raise NotFound(
                f"no service {name!r} is registered", field="service_name", provided=name, example=NAME_EXAMPLE
            )
        return service

    def _refuse_unless_known(self, name: str, *, may_warm: bool = True) -> None:
        """Raise Warming or StoreUnavailable while a service of this name may exist although the view lacks it."""
        if may_warm and not self._policy.denies_while_warming:
            self._refuse_while_warming(f"whether {name!r} exists")
        refuse_unknown(name, self._store.unknown)

    def _refuse_while_warming(self, what: str) -> None:
        if self.is_warming():
            raise Warming(
                f"this registry started empty and does not know yet {what}",
                retry_after_s=min(self._view.warm_in_s(), self._policy.terms.heartbeat_s),
            )
