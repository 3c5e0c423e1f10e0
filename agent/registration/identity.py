"""Who this agent's instances are, over its restarts. Pure.

An id that is configured stays. That of a host with a name is `host:port`, which is as stable as the name: a
container that is made anew, with nothing kept, is the same instance, and takes its own place again at once. At
an IP address the id is drawn once and kept: addresses of dead containers are inherited, and two agents must not
believe that they are the same instance. Where nothing can be kept it is `host:port`, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from agent.registries.clock import ERROR_S
from agent.settings.settings import ServiceSpec
from registry_core.domain.names import ip_address, label_of
from registry_core.domain.records import Registration

ID_DIGITS = 8


class Identity(msgspec.Struct, frozen=True):
    """What is kept: the latest epoch that was claimed, and the ids, by what stands in the configuration."""

    epoch: int = 0
    instance_ids: dict[str, str] = {}


def identified(
    services: Iterable[ServiceSpec], kept: Identity, *, draws: Iterable[str]
) -> tuple[tuple[ServiceSpec, ...], Identity]:
    """Return `services` with their ids, and what is to be kept from now on.

    `draws` gives an endless row of ID_DIGITS random characters each.
    """
    source = iter(draws)
    found: list[ServiceSpec] = []
    ids: dict[str, str] = {}
    for spec in services:
        claim = spec.claim
        if spec.has_own_id:
            found.append(spec)
            continue
        place = f"{claim.service_name}:{claim.port}"
        number = 1
        while (key := place if number == 1 else f"{place}#{number}") in ids:
            number += 1  # the same service and port on another host: told apart by their order
        ids[key] = kept.instance_ids.get(key) or _new_id(claim, source)
        found.append(msgspec.structs.replace(spec, claim=msgspec.structs.replace(claim, instance_id=ids[key])))
    return tuple(found), Identity(kept.epoch, ids)


def _new_id(claim: Registration, draws: Iterator[str]) -> str:
    if ip_address(claim.host) is None:
        return claim.instance_id  # host:port
    return f"{label_of(claim.service_name)}-{next(draws)}"


class StartTime(msgspec.Struct, frozen=True):
    """When an agent started, by its own clocks."""

    wall: float  # Unix seconds
    monotonic: float
    least_epoch: int = 1  # more than its earlier runs claimed, as far as that is known

    def by(self, registry_time: float, now: float) -> float:
        """Return when that was by the registry's clock, which showed `registry_time` at `now` (monotonic)."""
        return registry_time - (now - self.monotonic)


def epoch_of(start: StartTime, registry_time: float | None, now: float) -> int:
    """Return the epoch of the agent that started then: later ones are newer, and none is older than the run before.

    It is the time of the start in milliseconds: by the agent's own clock where that is right, or nothing else is
    known, since the registry tells whole seconds; else by the registry's, which is one and the same for all.
    """
    began = start.wall
    if registry_time is not None and abs(start.by(registry_time, now) - began) > ERROR_S:
        began = start.by(registry_time, now)
    return max(int(began * 1000), start.least_epoch)


def corrected_epoch(start: StartTime, registry_time: float | None, now: float, *, newer: int) -> int | None:
    """Return the epoch of an agent whose claim was refused for one of the epoch `newer`, if its own is newer still.

    By the registry's clock, which is the one that both were perhaps not named by. None: the other one has started
    later as far as can be told, and owns the instance for as long as its lease runs.
    """
    if registry_time is None:
        return None
    epoch = max(int(start.by(registry_time, now) * 1000), start.least_epoch)
    return epoch if epoch > newer else None
