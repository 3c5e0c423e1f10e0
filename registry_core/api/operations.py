"""The operations of a replica, without HTTP: calls become store operations, and the view becomes answers.

Each has the name of its row in the table of endpoints, by which `calls.py` serves it.

Lookups read the view and never wait. Writes go to the store after every rule of the domain has been checked, so that a
refused one leaves nothing behind. Just before the store they pass the gate, since this process may have stood still
while handling them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from registry_core.api.beats import beats_of, refusal_of
from registry_core.api.by_name import ByName
from registry_core.api.calls import Call, WriteCall
from registry_core.api.guard_report import guard_view
from registry_core.api.health_schemas import GuardReleasedView, GuardView
from registry_core.api.log_level_operations import LogLevelOperations
from registry_core.api.queries import boolean, filter_of, integer
from registry_core.api.refusal_log import RefusalLog
from registry_core.api.request_bodies import registration_of
from registry_core.api.schemas import (
    BeatView,
    CatalogView,
    DeregisteredView,
    HeartbeatBody,
    HeartbeatView,
    InstanceView,
    RegisterBody,
    RegisteredView,
    RestoreBody,
    RestoredView,
    ServiceView,
    StatusBody,
    instance_view,
    service_view,
)
from registry_core.api.standstill import WriteGate
from registry_core.api.view import ReplicaState, ReplicaView, refuse_unknown
from registry_core.domain.admission import Newcomer
from registry_core.domain.catalog import Lived
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.names import NAME_EXAMPLE, all_loopback, check_instance_id, check_known_name, label_of
from registry_core.domain.records import Instance, InstanceKey, Registration, Service, copied_as
from registry_core.domain.registration import MAX_EPOCH, Rules, checked
from registry_core.domain.restoration import checked_record, restored
from registry_core.domain.selection import Random, WhenNonePass, pick, ranked, serving, why_none
from registry_core.errors import (
    Fenced,
    NotFound,
    StoreUnavailable,
    ValidationError,
    Warming,
)
from registry_core.ports.clock import Clock
from registry_core.ports.reports import unread_in
from registry_core.ports.store import BeatResult, Store
from registry_core.resolution import Resolver
from registry_core.security.rights import Right
from registry_core.telemetry.metrics import ReplicaMetrics

# Instances that a warning was logged about; the bound matters, since ids are the callers' choice.
_MAX_WARNED: Final = 1_000

log = structlog.get_logger()


class Policy(msgspec.Struct, frozen=True):
    """The choices that the domain leaves to the replica."""

    rules: Rules
    terms: LeaseTerms
    zone: str
    when_none_pass: WhenNonePass
    serves_loopback_alone: bool = False
    # For clients that take a 503 for a broken registry: say that a name does not exist while that is not known yet.
    denies_while_warming: bool = False


class Operations(LogLevelOperations):
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
        self._store = store
        self._view = view
        self._policy = policy
        self._metrics = metrics
        self._gate = gate
        self._refusals = refusals
        self._resolver = resolver
        self._random = random
        self._by_name = ByName(view.catalog, clock, policy.terms.heartbeat_s)
        self._warned: set[InstanceKey] = set()
        # Set by the composition root: counts the labels that are looked up.
        self.asked: Callable[[str], None] = lambda _label: None
        # The same way where the store cannot say it: which part of it is not in the view, in words; "" for none.
        self.lacking: Callable[[], str] = lambda: unread_in(store.shards())

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
        addresses = await self._resolver.resolve(claim.host)
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
            beats, field = beats_of(call.body)
            for number, beat in enumerate(beats):
                prefix = field.format(number)
                check_known_name(beat.service_name, field=f"{prefix}service_name")
                if beat.instance_id is not None:
                    check_instance_id(beat.instance_id, field=f"{prefix}instance_id")
                call.caller.require(Right.WRITE, beat.service_name)
            self._gate.check()
            named = [self._by_name.beat(beat, call.origin) for beat in beats]
            meant = [beat for number, beat in enumerate(named) if beat is not None and number not in call.too_many]
            known = iter(await self._store.renew(meant) if meant else ())
            results = [
                BeatResult("unknown")
                if beat is None
                else BeatResult("renewed")  # a moment ago: the limit knows that more than half of the TTL is left
                if number in call.too_many
                else next(known)
                for number, beat in enumerate(named)
            ]
            views = [
                BeatView(
                    service_name=beat.service_name,
                    instance_id=result.key.instance_id if result.key is not None else beat.instance_id,
                    status=result.outcome,
                )
                for beat, result in zip(beats, results, strict=True)
            ]
            for view, beat, result in zip(views, beats, results, strict=True):
                owner = self._view.catalog.get(result.key) if result.key is not None else None
                refusal = refusal_of(view, beat, owner)
                if refusal is not None and call.body.instances is None:
                    raise refusal
                if isinstance(refusal, Fenced):
                    there = {"service": view.service_name, "instance": view.instance_id or ""}
                    self._refusals.note("heartbeat", refusal, **there, client=call.origin.peer)
            lost = sum(view.status == "unavailable" for view in views)
            if lost:
                self._refusals.beats_failed(lost)
        whole = all(view.status == "renewed" for view in views)
        return HeartbeatView(status="renewed" if whole else "partial", instances=views)

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
        return self._shown(instance)

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

    # -- lookups

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
        """Return the instances that a client may use, nearest and heaviest first, and one picked from them.

        Raises NotFound when there are none, Warming or StoreUnavailable when that is unknown.
        """
        service_name, wanted = call.path["service"], filter_of(call.query)
        with self._metrics.operation("lookup"):
            check_known_name(service_name)
            self.asked(label_of(service_name))
            service = self._service(service_name)
            usable = serving(service.instances, wanted, self._policy.when_none_pass)
            picked = pick(usable, self._random, self._policy.zone)
            if picked is None:
                self._refuse_unless_known(service_name)
                raise NotFound(why_none(service, wanted), field="service_name", provided=service_name)
        views = [self._shown(instance) for instance in ranked(usable, self._policy.zone)]
        return service_view(self._shown(picked), views)

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

    def _shown(self, instance: Instance) -> InstanceView:
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


def _key(service_name: str, instance_id: str) -> InstanceKey:
    return InstanceKey(label_of(service_name), check_instance_id(instance_id))


def _check_epoch(epoch: int | None) -> None:
    if epoch is not None and not 0 <= epoch <= MAX_EPOCH:
        raise ValidationError(
            f"epoch is a number from 0 to {MAX_EPOCH}", field="epoch", provided=epoch, example=1764000000000
        )
