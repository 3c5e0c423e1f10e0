"""The names that `rewrite` writes: which service of a file a name in the zone leads to.

Pure. A name in the zone is answered by the agents, so it leads anywhere only where the service asks one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cli.compose.model import ComposeService, Project
from cli.compose.registered_names import RegisteredNames
from cli.compose.sidecars import LABEL, REGISTRY_LABEL, Options, Recipe

ZONE: Final = Options().zone
_PROTOCOLS: Final = frozenset({"_tcp", "_udp"})


class DiscoveredNames:
    """The names of a fleet's services in the zones of its agents."""

    def __init__(self, project: Project, zones: Iterable[str]) -> None:
        self._zones = tuple(f".{zone.strip('.').lower()}" for zone in zones)
        self._services = project.services
        self._names = RegisteredNames(project)

    def is_in_zone(self, host: str) -> bool:
        """Return whether a name is in one of the zones."""
        return host.lower().rstrip(".").endswith(self._zones)

    def service_of(self, host: str) -> ComposeService | None:
        """Return the service of the file that a name leads to: `<service>.<zone>`, `<tag>.<service>.<zone>`."""
        name = host.lower().rstrip(".")
        zone = next((zone for zone in self._zones if name.endswith(zone)), None)
        if zone is None:
            return None
        labels = name[: -len(zone)].split(".")
        last = labels[-1]
        if last in _PROTOCOLS and len(labels) > 1:
            last = labels[-2].removeprefix("_")
        service = self._names.service_of(last)
        return None if service is None else self._services.get(service)


def zones_of(project: Project) -> tuple[str, ...]:
    """Return the zones of a file's agents; the usual one when it has none, or none of them says."""
    labelled = [service for service in project.services.values() if LABEL in service.labels]
    agents = [service for service in labelled if service.labels[LABEL].value != REGISTRY_LABEL]
    given = [agent.env("AGENT_DNS_ZONE") for agent in agents]
    zones = dict.fromkeys(entry.value if entry is not None and entry.value else ZONE for entry in given)
    return tuple(zones) or (ZONE,)


def recipes_of(project: Project) -> frozenset[Recipe]:
    """Return the recipes of a file's agents."""
    labels = {s.labels[LABEL].value for s in project.services.values() if LABEL in s.labels}
    return frozenset(recipe for recipe in Recipe if recipe.value in labels)
