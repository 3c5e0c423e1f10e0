"""Which instances of a service answer, and in which order. The random source is an argument."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from registry_core.domain.records import Instance, Service, Status

_WITHDRAWN: Final = frozenset({Status.DRAINING, Status.MAINTENANCE})
SERVING: Final = frozenset({Status.PASSING, Status.WARNING})


class WhenNonePass(enum.StrEnum):
    """What a service whose instances all fail answers with: all of them, or none."""

    ALL = "all"
    NONE = "none"


class Random(Protocol):
    """The one thing asked of a random source: a float in [0, 1)."""

    def random(self) -> float: ...


class Filter(msgspec.Struct, frozen=True):
    """Which instances the caller wants; an empty field asks nothing."""

    tag: str = ""
    version: str = ""
    zone: str = ""
    status: Status | None = None

    def admits(self, instance: Instance) -> bool:
        """Return whether `instance` is one of those that the caller wants."""
        return (
            (not self.tag or self.tag in instance.tags)
            and (not self.version or _version_matches(self.version, instance.version))
            and (not self.zone or self.zone == instance.zone)
            and (self.status is None or self.status is instance.status)
        )


ANY: Final = Filter()


def _version_matches(wanted: str, version: str) -> bool:
    # "1" and "1.4" stand for every release below them, as in the ranges of SemVer's tools; a full
    # version stands for itself alone.
    return version == wanted or (wanted.count(".") < 2 and version.startswith(wanted + "."))


def serving(
    instances: Sequence[Instance],
    wanted: Filter = ANY,
    when_none_pass: WhenNonePass = WhenNonePass.ALL,
) -> tuple[Instance, ...]:
    """Return the instances that may be given to a client.

    With `wanted.status` set, exactly those. Else those that pass, or, when none does, what
    `when_none_pass` says: better a doubtful address than none. Who drains or is in maintenance
    asked to be left alone, and is left alone even then.
    """
    admitted = tuple(i for i in instances if wanted.admits(i))
    if wanted.status is not None:
        return admitted
    passing = tuple(i for i in admitted if i.status in SERVING)
    if passing or when_none_pass is WhenNonePass.NONE:
        return passing
    # One with a status that only a later release knows is as doubtful as one that fails its checks.
    return tuple(i for i in admitted if i.status not in _WITHDRAWN)


def ranked(instances: Sequence[Instance], zone: str = "") -> tuple[Instance, ...]:
    """Return the instances by nearness (those of `zone` first), then weight, then id."""
    return tuple(sorted(instances, key=lambda i: (bool(zone) and i.zone != zone, -i.weight, i.instance_id)))


def pick(instances: Sequence[Instance], random: Random, zone: str = "") -> Instance | None:
    """Return one instance of the nearest zone that has any, drawn in proportion to the weights."""
    near = nearest(instances, zone)
    return drawn(near, random) if near else None


def nearest(instances: Sequence[Instance], zone: str = "") -> tuple[Instance, ...]:
    """Return the instances of `zone`, or all when it has none."""
    near = tuple(i for i in instances if i.zone == zone) if zone else ()
    return near or tuple(instances)


def drawn(instances: Sequence[Instance], random: Random) -> Instance:
    """Return one of `instances`, of which there is at least one, drawn in proportion to the weights."""
    mark = random.random() * sum(i.weight for i in instances)
    for instance in instances:
        mark -= instance.weight
        if mark < 0:
            return instance
    return instances[-1]  # rounding left the mark at the very end


def why_none(service: Service, wanted: Filter) -> str:
    """Return the sentence that says why a service that is registered has no instance to give."""
    statuses = ", ".join(sorted({instance.status.value for instance in service.instances}))
    if wanted == ANY:
        return f"{service.name!r} is registered, but none of its instances may be used now ({statuses})"
    return f"{service.name!r} is registered, but none of its instances ({statuses}) is as the filters ask"
