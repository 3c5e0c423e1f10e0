"""Which instances of a service answer, and in which order. The random source is an argument."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from registry_core.domain.records import Instance, Service, Status

_WITHDRAWN: Final = frozenset({Status.DRAINING, Status.MAINTENANCE})
SERVING: Final = frozenset({Status.PASSING, Status.WARNING})


class WhenNonePass(enum.StrEnum):
    """What to answer for a service whose instances all fail: all of them, or none."""

    ALL = "all"
    NONE = "none"


class Random(Protocol):
    """A random source: a float in [0, 1)."""

    def random(self) -> float: ...


class Filter(msgspec.Struct, frozen=True):
    """Which instances the caller wants; an empty field matches everything."""

    tag: str = ""
    version: str = ""
    zone: str = ""
    status: Status | None = None

    def admits(self, instance: Instance) -> bool:
        """Return whether `instance` matches."""
        return (
            (not self.tag or self.tag in instance.tags)
            and (not self.version or _version_matches(self.version, instance.version))
            and (not self.zone or self.zone == instance.zone)
            and (self.status is None or self.status is instance.status)
        )


ANY: Final = Filter()


def _version_matches(wanted: str, version: str) -> bool:
    # "1" and "1.4" match all their releases, as in the ranges of SemVer tools; a full version matches
    # only itself.
    return version == wanted or (wanted.count(".") < 2 and version.startswith(wanted + "."))


def serving(
    instances: Sequence[Instance],
    wanted: Filter = ANY,
    when_none_pass: WhenNonePass = WhenNonePass.ALL,
) -> tuple[Instance, ...]:
    """Return the instances that a client may use.

    With `wanted.status` set, exactly those with that status. Otherwise the passing ones; when none
    passes, `when_none_pass` decides: a doubtful address is better than none. Instances that drain or
    are in maintenance are never included.
    """
    admitted = tuple(i for i in instances if wanted.admits(i))
    if wanted.status is not None:
        return admitted
    passing = tuple(i for i in admitted if i.status in SERVING)
    if passing or when_none_pass is WhenNonePass.NONE:
        return passing
    # A status that only a later release knows is as doubtful as a failing check.
    return tuple(i for i in admitted if i.status not in _WITHDRAWN)


def usable_and_leaving(
    instances: Sequence[Instance], when_none_pass: WhenNonePass, has_drained: Callable[[Instance], bool]
) -> tuple[Sequence[Instance], Sequence[Instance]]:
    """Return the instances of a service to answer with, and the draining ones to name in addition.

    SRV has both, the draining ones with weight 0 and until they have drained for a moment. When there are no others,
    all that drain are returned, however long they have: A and AAAA have them only then.
    """
    usable = serving(instances, ANY, when_none_pass)
    if not usable and when_none_pass is WhenNonePass.NONE:
        return (), ()
    return usable, [i for i in instances if i.status is Status.DRAINING and not (usable and has_drained(i))]


def ranked(instances: Sequence[Instance], zone: str = "") -> tuple[Instance, ...]:
    """Return the instances sorted by nearness (those of `zone` first), then weight, then id."""
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
    """Return one of `instances` (at least one), drawn in proportion to the weights."""
    mark = random.random() * sum(i.weight for i in instances)
    for instance in instances:
        mark -= instance.weight
        if mark < 0:
            return instance
    return instances[-1]  # rounding left the mark beyond the last weight


def why_none(service: Service, wanted: Filter) -> str:
    """Return a sentence that says why a registered service has no usable instance."""
    statuses = ", ".join(sorted({instance.status.value for instance in service.instances}))
    if wanted == ANY:
        return f"{service.name!r} is registered, but none of its instances is usable now ({statuses})"
    return f"{service.name!r} is registered, but none of its instances ({statuses}) matches the filters"
