"""Gives this agent's instances ids that are stable across restarts. Pure.

A configured id is used unchanged. For a host with a name the id is `host:port`, which is as stable as the name: a
recreated container without any kept state is the same instance and replaces its own record at once. For an IP
address the id is drawn once and kept: addresses of dead containers are reused, and two agents must not take
themselves for the same instance. Without a state folder it is `host:port` too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from agent.settings.settings import ServiceSpec
from registry_core.domain.names import check_instance_id, ip_address, label_of
from registry_core.domain.records import Protocol, Registration
from registry_core.errors import ValidationError
from registry_core.watch.clock import ERROR_S

ID_DIGITS = 8
# The year 2286, in milliseconds. The registry takes more, but an agent with a later one could hardly claim a newer one.
MAX_KEPT_EPOCH: Final = 10**13
_OVER_UDP = "/udp"


class AgentIdentity(msgspec.Struct, frozen=True):
    """What is kept: the latest claimed epoch, and the ids by service and port, which over UDP are others."""

    epoch: int = 0
    instance_ids: dict[str, str] = {}


def checked_identity(kept: AgentIdentity) -> AgentIdentity:
    """Return `kept` unchanged. Raises ValidationError when a registry would refuse its epoch, or one of its ids."""
    if not 0 <= kept.epoch <= MAX_KEPT_EPOCH:
        raise ValidationError(
            f"an epoch is a time in milliseconds, from 0 to {MAX_KEPT_EPOCH}",
            field="epoch",
            provided=kept.epoch,
            example=1764000000000,
        )
    for instance_id in kept.instance_ids.values():
        check_instance_id(instance_id)
    return kept


def identified(
    services: Iterable[ServiceSpec], kept: AgentIdentity, *, draws: Iterable[str]
) -> tuple[tuple[ServiceSpec, ...], AgentIdentity]:
    """Return `services` with their ids, and the identity to keep.

    `draws` yields random strings of ID_DIGITS characters without end.
    """
    services = tuple(services)
    source = iter(draws)
    over_tcp = {_place(spec.claim) for spec in services if spec.claim.protocol is not Protocol.UDP}
    found: list[ServiceSpec] = []
    ids: dict[str, str] = {}
    for spec in services:
        claim = spec.claim
        if spec.has_own_id:
            found.append(spec)
            continue
        place = _place(claim)
        number = 1
        while (key := place if number == 1 else f"{place}#{number}") in ids:
            number += 1  # the same service and port on another host: distinguished by their order
        # Earlier releases kept the id of a udp service under the place alone.
        earlier = key.replace(_OVER_UDP, "")
        known = kept.instance_ids.get(key) or (earlier not in over_tcp and kept.instance_ids.get(earlier))
        ids[key] = known or _new_id(claim, source)
        found.append(msgspec.structs.replace(spec, claim=msgspec.structs.replace(claim, instance_id=ids[key])))
    return tuple(found), AgentIdentity(kept.epoch, ids)


def _place(claim: Registration) -> str:
    return f"{claim.service_name}:{claim.port}{_OVER_UDP if claim.protocol is Protocol.UDP else ''}"


def _new_id(claim: Registration, draws: Iterator[str]) -> str:
    if ip_address(claim.host) is None:
        return claim.instance_id  # the default one
    return f"{label_of(claim.service_name)}-{next(draws)}"


class StartTime(msgspec.Struct, frozen=True):
    """When an agent started, by its own clocks."""

    wall: float  # Unix seconds
    monotonic: float
    least_epoch: int = 1  # above the epochs of earlier runs, as far as known

    def by(self, registry_time: float, now: float) -> float:
        """Return the start time by the registry's clock, which showed `registry_time` at `now` (monotonic)."""
        return registry_time - (now - self.monotonic)


def epoch_of(start: StartTime, registry_time: float | None, now: float) -> int:
    """Return the epoch of an agent that started at `start`: higher for a later start, never below an earlier run's.

    It is the start time in milliseconds. The agent's own clock is used if it agrees with the registry's, which tells
    only whole seconds, or if that is unknown; otherwise the registry's clock, which is the same for all.
    """
    began = start.wall
    if registry_time is not None and abs(start.by(registry_time, now) - began) > ERROR_S:
        began = start.by(registry_time, now)
    return max(int(began * 1000), start.least_epoch)


def corrected_epoch(start: StartTime, registry_time: float | None, now: float, *, newer: int) -> int | None:
    """Return a corrected epoch for an agent that was fenced by the epoch `newer` but started later, else None.

    The registry's clock decides, since either epoch may come from another clock. None means that the other agent
    started later, as far as known, and owns the instance until its lease expires.
    """
    if registry_time is None:
        return None
    epoch = max(int(start.by(registry_time, now) * 1000), start.least_epoch)
    return epoch if epoch > newer else None


def succeeding_epoch(own: int, newer: int) -> int:
    """Return the epoch with which an agent succeeds an owner of the epoch `newer` that has left.

    Several agents may try at once: the digits of their `own` epochs keep theirs apart. It is at most a second above,
    so that the one that left owns the instance again when it returns.
    """
    return newer + 1 + own % 1000
