"""Which instances of a service answer, and in which order. The random source is an argument."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from registry_core.domain.records import Instance, Service, Status

SERVING: Final = frozenset({Status.PASSING, Status.WARNING})


class WhenNonePass(enum.StrEnum):
    """What to answer for a service of which no instance passes or drains: all of them, or none."""

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


class SelectionKind(enum.StrEnum):
    """Which instances of a service answer: of these kinds, the first that there is."""

    REQUESTED = "requested"  # those with the status that the caller asked for
    PASSING = "passing"  # or warning
    DRAINING = "draining"  # they get no new clients while others pass, but they are well
    DOUBTFUL = "doubtful"  # none is well, and a doubtful address is better than none
    NONE = "none"


class Selection(NamedTuple):
    """The instances of a service that answer, on every face alike; `leaving` are those that SRV alone names as well."""

    usable: tuple[Instance, ...]
    leaving: tuple[Instance, ...]
    kind: SelectionKind


def selected(
    instances: Sequence[Instance],
    wanted: Filter = ANY,
    when_none_pass: WhenNonePass = WhenNonePass.ALL,
    has_drained: Callable[[Instance], bool] = lambda _: False,
) -> Selection:
    """Return which instances a client may use: the one answer to this question, for HTTP, DNS and the commands.

    With `wanted.status` set, exactly those with that status. Otherwise those that pass or warn; else those that drain,
    since an instance that is asked to leave is well; else, if `when_none_pass` allows it, all others. An instance in
    maintenance is out of use and never included. While others pass, the draining ones are leaving until they have
    drained for a moment.
    """
    admitted = tuple(i for i in instances if wanted.admits(i))
    if wanted.status is not None:
        return Selection(admitted, (), SelectionKind.REQUESTED if admitted else SelectionKind.NONE)
    draining = tuple(i for i in admitted if i.status is Status.DRAINING)
    passing = tuple(i for i in admitted if i.status in SERVING)
    if passing:
        return Selection(passing, tuple(i for i in draining if not has_drained(i)), SelectionKind.PASSING)
    # One that fell silent while it drained has probably ended.
    well = tuple(i for i in draining if not i.suspect)
    if well:
        return Selection(well, (), SelectionKind.DRAINING)
    # A status that only a later release knows is as doubtful as a failing check.
    doubtful = tuple(i for i in admitted if i.status is not Status.MAINTENANCE)
    if not doubtful or when_none_pass is WhenNonePass.NONE:
        return Selection((), (), SelectionKind.NONE)
    return Selection(doubtful, (), SelectionKind.DOUBTFUL)


def serving(
    instances: Sequence[Instance],
    wanted: Filter = ANY,
    when_none_pass: WhenNonePass = WhenNonePass.ALL,
) -> tuple[Instance, ...]:
    """Return the instances that a client may use, as `selected` chooses them."""
    return selected(instances, wanted, when_none_pass).usable


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
