"""What a write means that names a service but no instance: what its sender registered, if that is certain.

This file does no I/O.
"""

from __future__ import annotations

from registry_core.api.schemas import BeatBody, RegisterBody
from registry_core.domain.catalog import Catalog
from registry_core.domain.records import Instance, InstanceKey, Service
from registry_core.domain.registrants import Origin, Registrants
from registry_core.errors import AmbiguousInstance, Fenced
from registry_core.ports.clock import Clock
from registry_core.ports.store import Beat


class ByName:
    """Tells which instance each client means. `heartbeat_s` is the interval between heartbeats that is asked."""

    def __init__(self, catalog: Catalog, clock: Clock, heartbeat_s: float) -> None:
        self._catalog = catalog
        self._clock = clock
        self._registrants = Registrants(heartbeat_s)

    def registered(self, body: RegisterBody, instance: Instance, origin: Origin) -> None:
        """Note who registered an instance, if the client may name its service alone later: agents do not."""
        if body.instance_id is None or instance.epoch == 0:
            self._registrants.registered(instance, origin, self._clock.monotonic())

    def beat(self, body: BeatBody, origin: Origin) -> Beat | None:
        """Return which lease a heartbeat renews; None when its sender must register again to make that certain."""
        instance_id = body.instance_id
        if instance_id is None and body.epoch is None:
            service = self._catalog.find(body.service_name)
            instances = service.instances if service is not None else ()
            own = self._registrants.beaten(origin, instances, self._clock.monotonic())
            if own is None:
                return None
            instance_id = own.instance_id
        return Beat(body.service_name, instance_id, body.epoch)

    def departing(self, service: Service, origin: Origin) -> InstanceKey:
        """Return which instance a client takes out: the only one of a service, or else what it registered.

        Raises AmbiguousInstance when that is not certain, and Fenced when an agent has taken it over.
        """
        sole = service.instances[0].key if len(service.instances) == 1 else None
        key = sole if sole is not None else self._registrants.own(origin, service.instances)
        if key is None:
            raise AmbiguousInstance(
                f"{service.name!r} has {len(service.instances)} instances: name one, or ask for all=true",
                field="instance_id",
                example=service.instances[0].instance_id,
            )
        if any(one.key == key and self._registrants.succeeded(origin, one) for one in service.instances):
            raise Fenced(
                f"this instance of {service.name!r} has a newer owner, which takes it out itself", field="epoch"
            )
        return key
