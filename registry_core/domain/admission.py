"""Decides the ownership of a name, an id and an address: compares a claim with existing registrations. Pure.

A socket (an address and a port, over TCP or over UDP) belongs to one instance, under whichever host it was registered.
Containers inherit the addresses of dead ones, so a holder gives way to a newcomer

- when it is suspect, or its TTL has passed;
- when it missed a heartbeat, and the newcomer's check passes;
- when it is critical;
- when both are registered by host names, and the newcomer's moved there: a name server gives an address to one of them
  at a time, and the later answer counts. The holder registers again with the address that its own name has by then.

The last three hold between services only for a caller that may write both: such a holder may be alive.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import msgspec

from registry_core.domain.catalog import Catalog
from registry_core.domain.host_port import host_port
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.names import ip_address
from registry_core.domain.order import fenced
from registry_core.domain.records import Claimed, Instance, InstanceKey, Protocol, Registration, Status, copied_as
from registry_core.domain.registration import MAX_PORT
from registry_core.errors import Conflict

NOW: Final = -math.inf


class Newcomer(msgspec.Struct, frozen=True):
    """What a caller says, beside its claim. `may_displace`: it may write the services of all holders, too."""

    may_displace: bool = True
    passing: bool = False  # the check of its service passes


ANYBODY: Final = Newcomer()


class Admission(msgspec.Struct, frozen=True):
    """The effect of an accepted registration: the new record, and the instances that it displaces."""

    instance: Instance
    created: bool
    changed: bool  # False: the same record exists, so only its lease is renewed
    evicted: tuple[InstanceKey, ...] = ()


def admitted(
    claim: Registration,
    catalog: Catalog,
    remaining_s: Callable[[InstanceKey], float],
    now: float,
    *,
    terms: LeaseTerms,
    newcomer: Newcomer = ANYBODY,
) -> Admission:
    """Return the effect of registering `claim` (already checked) at `now` (Unix seconds).

    `remaining_s` returns what is left of a TTL. Sockets that the instance holds already are not disputed: earlier
    releases gave one address to several instances.

    Raises Conflict when the name or an address belongs to another instance, Fenced when a newer epoch owns the
    instance.
    """
    service = catalog.find(claim.service_name)
    if service is not None and service.name != claim.service_name:
        raise name_taken(claim.service_name, service.name, retry_after_s=terms.heartbeat_s)
    own = claim.key
    held = catalog.get(own)
    check_epoch(own, claim.epoch, held)
    kept = held.sockets if held is not None else ()
    evicted: list[InstanceKey] = []
    for holder in catalog.holders(socket for socket in claim.sockets if socket not in kept):
        if holder.key != own:
            wait_s = gives_way_in_s(holder, remaining_s(holder.key), claim, held, terms=terms, newcomer=newcomer)
            if wait_s >= 0:
                raise address_taken(claim, holder, retry_after_s=wait_s)
            evicted.append(holder.key)
    instance = copied_as(
        claim,
        Instance,
        epoch=claim.epoch if claim.epoch is not None else held.epoch if held is not None else 0,
        registered_at=held.registered_at if held is not None else now,
    )
    return Admission(instance, created=held is None, changed=instance != held, evicted=tuple(evicted))


def gives_way_in_s(
    holder: Instance,
    remaining_s: float,
    claim: Claimed,
    held: Instance | None,
    *,
    terms: LeaseTerms,
    newcomer: Newcomer,
) -> float:
    """Return the seconds until `holder` gives way to `claim` unless it is heard of; negative when it does now.

    `held` is the claimant's own record. `gives_way_in` in `library.lua` is the same.
    """
    may_be_alive = newcomer.may_displace or holder.key.label == claim.key.label
    if holder.suspect or (may_be_alive and (holder.status is Status.CRITICAL or has_moved(claim, held, holder))):
        return NOW
    return remaining_s - (terms.ttl_s - terms.missed_after_s if newcomer.passing and may_be_alive else 0.0)


def has_moved(claim: Claimed, held: Instance | None, holder: Instance) -> bool:
    """Return whether the claimant's host name got an address that `holder` has by another host name."""
    return held is not None and claim.host != holder.host and is_name(claim.host) and is_name(holder.host)


def is_name(host: str) -> bool:
    """Return whether a host is no IP address: its addresses may change."""
    return ip_address(host) is None


def name_taken(name: str, registered: str, *, retry_after_s: float | None = None) -> Conflict:
    """Return the refusal of `name`, which is the same DNS name as the `registered` one."""
    return Conflict(
        f"{name!r} and {registered!r} are one name in DNS, and {registered!r} is registered",
        field="service_name",
        provided=name,
        example=registered,
        retry_after_s=retry_after_s,
    )


def address_taken(claim: Claimed, holder: Instance, *, retry_after_s: float | None = None) -> Conflict:
    """Return the refusal of a socket that another instance has registered."""
    over = " over UDP" if claim.protocol is Protocol.UDP else ""
    where = "" if claim.socket == holder.socket else f", at {holder.holder}"
    return Conflict(
        f"{claim.address}{over} is registered as instance {holder.instance_id!r} of {holder.key.label!r}{where}",
        field="port",
        provided=claim.address,
        example=host_port(claim.host, claim.port + 1 if claim.port < MAX_PORT else claim.port - 1),
        holder=holder.holder,
        retry_after_s=retry_after_s,
    )


def check_epoch(key: InstanceKey, epoch: int | None, held: Instance | None) -> None:
    """Raises Fenced when `epoch` is older than the one that owns `held`."""
    if epoch is not None and held is not None and epoch < held.epoch:
        raise fenced(key, epoch, held.epoch, held)
