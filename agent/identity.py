"""Who this agent's instances are, over its restarts. Pure.

An id that is configured stays. That of a host with a name is `host:port`, which is as stable as the name: a
container that is made anew, with nothing kept, is the same instance, and takes its own place again at once. At
an IP address the id is drawn once and kept: addresses of dead containers are inherited, and two agents must not
believe that they are the same instance. Where nothing can be kept it is `host:port`, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from agent.settings import ServiceSpec
from registry_core.domain.names import ip_address, label_of
from registry_core.domain.records import Registration

ID_DIGITS = 8


class Identity(msgspec.Struct, frozen=True):
    """What is kept: the latest epoch, and the ids, by what stands in the configuration."""

    epoch: int = 0
    instance_ids: dict[str, str] = {}


def identified(
    services: Iterable[ServiceSpec], kept: Identity, *, epoch: int, draws: Iterable[str]
) -> tuple[tuple[ServiceSpec, ...], Identity]:
    """Return `services` with their ids, and what is to be kept from now on.

    `epoch` is that of the clock; the one that is kept goes on from there when a clock was set back.
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
    return tuple(found), Identity(max(epoch, kept.epoch + 1), ids)


def _new_id(claim: Registration, draws: Iterator[str]) -> str:
    if ip_address(claim.host) is None:
        return claim.instance_id  # host:port
    return f"{label_of(claim.service_name)}-{next(draws)}"


def epoch_at(wall: float) -> int:
    """Return the epoch of an agent that starts at `wall` (Unix seconds): later ones are newer."""
    return int(wall * 1000)
