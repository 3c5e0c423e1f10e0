"""The operations of a replica, without HTTP: calls become store operations, and the view becomes answers.

Each has the name of its row in the table of endpoints, by which `calls.py` serves it.

Lookups read the view and never wait. Writes go to the store after every rule of the domain has been checked, so that a
refused one leaves nothing behind. Just before the store they pass the gate, since this process may have stood still
while handling them.
"""

from __future__ import annotations

from typing import Final

import msgspec
import structlog

from registry_core.api.by_name import ByName
from registry_core.api.calls import Call, WriteCall
from registry_core.api.guard_report import guard_view
from registry_core.api.health_schemas import GuardReleasedView, GuardView
from registry_core.api.log_level_operations import LogLevelOperations
from registry_core.api.lookup_operations import LookupOperations, Policy
from registry_core.api.queries import boolean, integer
from registry_core.api.refusal_log import RefusalLog
from registry_core.api.renewals import Renewals
from registry_core.api.request_bodies import registration_of
from registry_core.api.schemas import (
    DeregisteredView,
    HeartbeatBody,
    HeartbeatView,
    InstanceView,
    RegisterBody,
    RegisteredView,
    RestoreBody,
    RestoredView,
    StatusBody,
)
from registry_core.api.standstill import WriteGate
from registry_core.api.view import ReplicaView
from registry_core.domain.admission import Newcomer
from registry_core.domain.names import all_loopback, check_instance_id, check_known_name, is_plain_ipv4, label_of
from registry_core.domain.records import Instance, InstanceKey, Registration, copied_as
from registry_core.domain.registration import MAX_EPOCH, checked
from registry_core.domain.restoration import checked_record, restored
from registry_core.domain.selection import Random
from registry_core.errors import NotFound, ValidationError
from registry_core.ports.clock import Clock
from registry_core.ports.store import Store
from registry_core.resolution import Resolver
from registry_core.security.rights import Right
from registry_core.telemetry.metrics import ReplicaMetrics

# Instances that a warning was logged about; the bound matters, since ids are the callers' choice.
_MAX_WARNED: Final = 1_000

log = structlog.get_logger()


class Operations(LookupOperations, LogLevelOperations):
    """The operations of one replica."""

    def __init__(
        self,
        store: Store,
        view: ReplicaView,
        policy: Policy,
        *,
        metrics: ReplicaMetrics,
        gate: WriteGate,
        refusals: RefusalLog,
        resolver: Resolver,
        random: Random,
        clock: Clock,
    ) -> None:
        super().__init__(store, view, policy, metrics=metrics, random=random)
        self._gate = gate
        self._resolver = resolver
        self._by_name = ByName(view.catalog, clock, policy.terms.heartbeat_s)
        self._renewals = Renewals(store, view.catalog, self._by_name, gate=gate, refusals=refusals)
        self._warned: set[InstanceKey] = set()

    # -- writes

    async def register(self, call: WriteCall[RegisterBody]) -> RegisteredView:
        """Register or replace an instance.

        Raises ValidationError, Forbidden, Conflict, Fenced, Late, StoreUnavailable.
        """
        with self._metrics.operation("register"):
            call.caller.require(Right.WRITE, call.body.service_name)
            claim = await self._with_addresses(checked(registration_of(call.body), self._policy.rules))
            self._gate.check()
            newcomer = Newcomer(may_displace=call.caller.may_displace, passing=call.passing)
            before = self._view.catalog.get(claim.key)
            grant = await self._store.register(claim, sequence=call.sequence, newcomer=newcomer)
        if before is not None:
            self._metrics.turned(before.status, grant.instance.status)
        self._by_name.registered(call.body, grant.instance, call.origin)
        self._warn_of_loopback(grant.instance)
        terms = self._policy.terms
        return RegisteredView(
            status="registered",
            service_name=grant.instance.service_name,
            instance_id=grant.instance.instance_id,
            created=grant.created,
            epoch=grant.instance.epoch,
            ttl_seconds=grant.ttl_s,
            heartbeat_interval_seconds=terms.heartbeat_s,
        )

    def _warn_of_loopback(self, instance: Instance) -> None:
        """Log once for each instance that clients on other machines, when they look it up, connect to themselves."""
        if self._policy.serves_loopback_alone or not all_loopback(instance.addresses) or instance.key in self._warned:
            return
        if len(self._warned) >= _MAX_WARNED:
            self._warned.clear()
        self._warned.add(instance.key)
        log.warning(
            "loopback registered",
            service=instance.service_name,
            instance=instance.instance_id,
            host=instance.host,
            addresses=instance.addresses,
            because="clients on other machines connect to themselves; its agent needs SERVICE_HOST",
        )

    async def _with_addresses(self, claim: Registration) -> Registration:
        if claim.addresses:
            return claim
        addresses = (claim.host,) if is_plain_ipv4(claim.host) else await self._resolver.resolve(claim.host)
        if not addresses:
            held = self._view.catalog.get(claim.key)
            if held is not None and held.host == claim.host:
                # A brief name server outage must not remove known addresses from DNS.
                addresses = held.addresses
        return msgspec.structs.replace(claim, addresses=addresses)

    async def heartbeat(self, call: WriteCall[HeartbeatBody]) -> HeartbeatView:
        """Renew one lease or many.

        For a single lease, raises NotFound when it is unknown and Fenced when it has a newer owner; for many,
        each result says so. A heartbeat that names only its service is for what its sender registered.
        """
        with self._metrics.operation("heartbeat"):
            return await self._renewals.renew(call)

    async def deregister(self, call: WriteCall[None]) -> DeregisteredView:
        """Remove one instance, or with `all` every instance of a service.

        Without an instance, the only one of the service is meant, or the one that the caller registered. Raises
        NotFound, Fenced, Late, StoreUnavailable, and AmbiguousInstance when neither says which.
        """
        service_name, instance_id = call.path["service"], call.path.get("instance")
        every, epoch = boolean(call.query, "all"), integer(call.query, "epoch")
        with self._metrics.operation("deregister"):
            check_known_name(service_name)
            call.caller.require(Right.WRITE, service_name)
            if instance_id is not None:
                keys = [_key(service_name, instance_id)]
            else:
                service = self._service(service_name, may_warm=False)
                keys = [instance.key for instance in service.instances]
                if not every:
                    keys = [self._by_name.departing(service, call.origin)]
            gone: list[Instance] = []
            for key in keys:
                self._gate.check()
                try:
                    gone.append(await self._store.deregister(key, epoch, sequence=call.sequence))
                except NotFound:  # one of several may have gone meanwhile
                    if len(keys) == 1:
                        raise
            if not gone:
                raise NotFound(f"no service {service_name!r} is registered", field="service_name")
        return DeregisteredView(
            status="deregistered",
            service_name=gone[0].service_name,
            instances=[instance.instance_id for instance in gone],
        )

    # The same, for the path that names the instance.
    deregister_instance = deregister

    async def set_status(self, call: WriteCall[StatusBody]) -> InstanceView:
        """Change the status of an instance. Raises NotFound, Fenced or Late."""
        service_name, status, epoch = call.path["service"], call.body.status, call.body.epoch
        with self._metrics.operation("set_status"):
            check_known_name(service_name)
            call.caller.require(Right.WRITE, service_name)
            _check_epoch(epoch)
            key = _key(service_name, call.path["instance"])
            self._gate.check()
            before = self._view.catalog.get(key)
            instance = await self._store.set_status(key, status, epoch, sequence=call.sequence)
        self._metrics.turned(None if before is None else before.status, instance.status)
        return self.shown_now(instance)

    async def restore(self, call: WriteCall[RestoreBody]) -> RestoredView:
        """Restore a saved registration, or with `dry_run` return what that would do, judged by the view.

        Raises ValidationError, Forbidden, Conflict, StoreUnavailable.
        """
        dry_run = boolean(call.query, "dry_run")
        with self._metrics.operation("restore"):
            call.caller.require(Right.RESTORE)
            saved = checked_record(copied_as(call.body, Instance), self._policy.rules)
            self._gate.check()
            outcome = restored(saved, self._view.catalog) if dry_run else await self._store.restore(saved)
        return RestoredView(status=outcome, service_name=saved.service_name, instance_id=saved.instance_id)

    # -- the guard

    def guard(self, _call: Call) -> GuardView:
        """Return the state of the guards."""
        return guard_view(self._store.guards())

    async def release_guard(self, call: WriteCall[None]) -> GuardReleasedView:
        """Release the guard of one shard, or of all. Raises Forbidden, NotFound, StoreUnavailable."""
        with self._metrics.operation("release_guard"):
            call.caller.require(Right.RELEASE_GUARD)
            self._gate.check()
            released = await self._store.release_guard(call.query.get("shard"))
        if released:
            log.warning("guard released by an operator", shards=list(released))
        return GuardReleasedView(released=list(released), guard=guard_view(self._store.guards()))


def _key(service_name: str, instance_id: str) -> InstanceKey:
    return InstanceKey(label_of(service_name), check_instance_id(instance_id))


def _check_epoch(epoch: int | None) -> None:
    if epoch is not None and not 0 <= epoch <= MAX_EPOCH:
        raise ValidationError(
            f"epoch is a number from 0 to {MAX_EPOCH}", field="epoch", provided=epoch, example=1764000000000
        )
