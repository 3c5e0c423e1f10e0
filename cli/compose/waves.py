"""Orders the migration of a fleet in waves: services whose failure affects the fewest others go first.

Pure. Services in a dependency cycle are always in the same wave.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from cli.compose.audit import Audit
from cli.compose.graph import components, reach
from cli.compose.listening_ports import is_infrastructure
from cli.compose.model import Project
from cli.compose.registered_names import RegisteredNames
from cli.plurals import counted

CATEGORY_LABEL: Final = "vertice.category"
INFRASTRUCTURE: Final = "infrastructure"
OTHER: Final = "other"
# The number of names that must share a first word to make it a category.
MIN_CATEGORY: Final = 3
PILOT: Final = 5
WAVE_SIZE: Final = 25
_MANY: Final = 10_000_000


class By(enum.Enum):
    """The criterion for waves: a service's distance from those without dependents, or its category."""

    DEPENDENCY = "dependency"
    CATEGORY = "category"


class Planned(msgspec.Struct, frozen=True):
    """A service in a wave. `radius`: how many others depend on it, directly or indirectly.

    `registered_name`: its name in the registry, None when it cannot be registered.
    """

    name: str
    category: str
    radius: int
    addresses: int
    circle: tuple[str, ...]
    registered_name: str | None = None


class Wave(msgspec.Struct, frozen=True):
    """Services that are migrated together."""

    number: int
    title: str
    services: tuple[Planned, ...]

    @property
    def radius(self) -> int:
        """The largest radius of its services."""
        return max((s.radius for s in self.services), default=0)


class _Group(msgspec.Struct, frozen=True):
    """Services that cannot be separated: a single one or a whole cycle."""

    services: tuple[Planned, ...]
    needed_by: frozenset[str]
    layer: int
    rank: tuple[int, int, int, int]

    @property
    def category(self) -> str:
        return Counter(s.category for s in self.services).most_common(1)[0][0]


def categories(project: Project) -> dict[str, str]:
    """Return the category of each service.

    It is the label `vertice.category`; else `infrastructure` for an image such as redis; else the first word of the
    name, if at least three names share it; else `other`.
    """
    words = {name: re.split(r"[_-]", name, maxsplit=1)[0] for name in project.services}
    shared = Counter(words.values())
    found = {}
    for name, service in project.services.items():
        label = service.labels.get(CATEGORY_LABEL)
        if label is not None and label.value:
            found[name] = label.value
        elif is_infrastructure(service):
            found[name] = INFRASTRUCTURE
        else:
            found[name] = words[name] if shared[words[name]] >= MIN_CATEGORY else OTHER
    return found


def waves_of(audit: Audit, by: By, pilot: int = PILOT, wave_size: int = WAVE_SIZE) -> tuple[Wave, ...]:
    """Return the waves: a pilot of at most `pilot` services, then the rest by `by`, at most `wave_size` at a time.

    A cycle larger than that is still one wave. By dependency, a service moves only after all its dependents, so a
    failure affects only services that have already migrated.
    """
    groups = sorted(_groups(audit), key=lambda g: (g.layer, *g.rank))
    first, rest = _pilot(groups, pilot)
    lots: list[tuple[str, list[_Group]]] = [("pilot", first)] if first else []
    if by is By.DEPENDENCY:
        for layer in sorted({g.layer for g in rest}):
            title = "nothing depends on them" if layer == 0 else f"{layer} step{'s' if layer > 1 else ''} below those"
            lots.append((title, [g for g in rest if g.layer == layer]))
    else:
        by_category: dict[str, list[_Group]] = {}
        for group in rest:
            by_category.setdefault(group.category, []).append(group)
        # Infrastructure goes last, since everything depends on it.
        lots += sorted(
            by_category.items(),
            key=lambda lot: (lot[0] == INFRASTRUCTURE, max(s.radius for g in lot[1] for s in g.services), lot[0]),
        )
    parts = [(title, part) for title, lot in lots for part in _parted(lot, pilot if title == "pilot" else wave_size)]
    return tuple(Wave(n, title, tuple(s for g in part for s in g.services)) for n, (title, part) in enumerate(parts, 1))


def _groups(audit: Audit) -> list[_Group]:
    needs, needed_by = audit.graph.needs(), audit.graph.needed_by()
    belongs = categories(audit.project)
    order = {name: at for at, name in enumerate(audit.project.services)}
    # Discovered names count as well, so that the waves stay the same while addresses are replaced.
    written = Counter(a.service for a in audit.addresses if not a.identity)
    registered = RegisteredNames(audit.project)
    layers: dict[str, int] = {}
    found = []
    # Components list dependencies first; in reverse, a service's dependents are known when its turn comes.
    for names in reversed(components(needs)):
        dependents = {d for name in names for d in needed_by[name]} - set(names)
        layer = max((layers[d] + 1 for d in dependents), default=0)
        layers |= dict.fromkeys(names, layer)
        radius = len(reach(needed_by, names[0]))
        circle = names if len(names) > 1 else ()
        unchecked = any(audit.project.services[name].healthcheck is None for name in names)
        # A pilot with a health check and hard-coded addresses proves more than one without; a service that calls the
        # whole fleet, such as a gateway, is a bad one to start with.
        addresses = sum(written[name] for name in names)
        rank = (radius, int(unchecked), addresses or _MANY, order[names[0]])
        services = tuple(
            Planned(name, belongs[name], radius, written[name], circle, registered.of(name).name) for name in names
        )
        found.append(_Group(services, frozenset(dependents), layer, rank))
    return found


def _pilot(groups: list[_Group], size: int) -> tuple[list[_Group], list[_Group]]:
    taken: set[str] = set()
    first: list[_Group] = []
    rest: list[_Group] = []
    for group in groups:
        if len(taken) + len(group.services) <= size and group.needed_by <= taken:
            first.append(group)
            taken |= {s.name for s in group.services}
        else:
            rest.append(group)
    return first, rest


def _parted(lot: list[_Group], size: int) -> Iterator[list[_Group]]:
    part: list[_Group] = []
    count = 0
    for group in lot:
        if part and count + len(group.services) > size:
            yield part
            part, count = [], 0
        part.append(group)
        count += len(group.services)
    if part:
        yield part


def plan_text(waves: Sequence[Wave]) -> Iterator[str]:
    """Return the plan for people."""
    for wave in waves:
        count = counted(len(wave.services), "service")
        others = counted(wave.radius, "other depends", "others depend")
        yield f"wave {wave.number}, {wave.title}: {count}; at most {others} on one of them"
        for s in wave.services:
            circle = f"; in a circle with {', '.join(n for n in s.circle if n != s.name)}" if s.circle else ""
            addresses = counted(s.addresses, "address", "addresses")
            known_as = "" if s.registered_name in (None, s.name) else f", registered as {s.registered_name}"
            others = counted(s.radius, "depends", "depend")
            yield f"  {s.name} ({s.category}{known_as}): {others} on it, {addresses}{circle}"
        yield ""
    yield f"{counted(sum(len(w.services) for w in waves), 'service')} in {counted(len(waves), 'wave')}."


def plan_json(waves: Sequence[Wave], by: By) -> dict[str, Any]:
    """Return the plan for programs."""
    return {
        "format": 1,
        "by": by.value,
        "waves": [
            {
                "number": w.number,
                "title": w.title,
                "radius": w.radius,
                "services": [
                    {
                        "name": s.name,
                        "registered_name": s.registered_name,
                        "category": s.category,
                        "needed_by": s.radius,
                        "addresses": s.addresses,
                        "circle": list(s.circle),
                    }
                    for s in w.services
                ],
            }
            for w in waves
        ],
    }
