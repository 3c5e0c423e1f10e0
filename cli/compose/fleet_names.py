"""Resolves a host name in a fleet: to a service, the container itself, the host, or something outside.

Pure. Names resolve as in Docker's resolver: by service names, container names, host names and aliases,
case-insensitively, and only within a shared network. To Docker, '_' and '-' are different characters.
"""

from __future__ import annotations

import enum
import ipaddress
from typing import Final

import msgspec

from cli.compose.model import ComposeService, Project
from registry_core.domain.names import label_of

_HOST_NAMES: Final = frozenset(
    {"host.docker.internal", "gateway.docker.internal", "host.containers.internal", "docker.for.mac.localhost"}
)
MAX_NAMESAKES: Final = 8


class Meant(enum.Enum):
    """What a host name means."""

    SERVICE = "service"
    OTHER_SPELLING = "other spelling"  # such a service exists, with '_' for '-' or vice versa
    NOT_SHARED = "no shared network"  # such a service exists, but the two share no network
    ITSELF = "itself"
    HOST = "host"
    OUTSIDE = "outside"  # with a dot, an IP address, or known by `extra_hosts`
    UNKNOWN = "unknown"


class NameMatch(msgspec.Struct, frozen=True):
    """What a name means, and the services that it may mean."""

    meant: Meant
    services: tuple[ComposeService, ...] = ()


class FleetNames:
    """All names of a fleet."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._by_name: dict[str, list[ComposeService]] = {}
        self._by_label: dict[str, list[ComposeService]] = {}
        for service in project.services.values():
            self._add(service.name, service)
        for service in project.services.values():
            for name in other_names(service):
                self._add(name, service)

    def _add(self, name: str, service: ComposeService) -> None:
        for names, key in ((self._by_name, name.lower()), (self._by_label, label_of(name))):
            namesakes = names.setdefault(key, [])
            # A name shared by thousands would otherwise be searched for each of their addresses.
            if len(namesakes) < MAX_NAMESAKES and service not in namesakes:
                namesakes.append(service)

    def is_known(self, host: str) -> bool:
        """Return whether any service has that name, in any spelling."""
        return label_of(host) in self._by_label

    def of(self, consumer: ComposeService, host: str) -> NameMatch:
        """Return what `host` means to `consumer`."""
        name = host.lower().rstrip(".")
        if name == "localhost" or name.startswith("127."):
            return self._itself(consumer)
        if name in _HOST_NAMES:
            return NameMatch(Meant.HOST)
        exact = self._by_name.get(name, [])
        mine = self._namespace(consumer).network_names
        shared = [s for s in exact if s.name == consumer.name or self._namespace(s).network_names & mine]
        if shared:
            # A service's own name takes precedence over others' aliases.
            first = [s for s in shared if s.name.lower() == name] or shared
            return NameMatch(Meant.SERVICE, tuple(first))
        if exact:
            return NameMatch(Meant.NOT_SHARED, tuple(exact))
        linked = self._linked(consumer, host)
        if linked is not None:
            return NameMatch(Meant.SERVICE, (linked,))
        if host in consumer.extra_hosts:
            return NameMatch(Meant.OUTSIDE)
        spelled = self._by_label.get(label_of(name), [])
        if spelled:
            return NameMatch(Meant.OTHER_SPELLING, tuple(spelled))
        if "." in name or _is_ip(name) or self._meets_others(consumer):
            return NameMatch(Meant.OUTSIDE)
        return NameMatch(Meant.UNKNOWN)

    def _itself(self, consumer: ComposeService) -> NameMatch:
        if consumer.network_mode == "host":
            return NameMatch(Meant.HOST)
        owner = self._namespace(consumer)
        return NameMatch(Meant.ITSELF, (consumer,) if owner.name == consumer.name else (consumer, owner))

    def _linked(self, consumer: ComposeService, host: str) -> ComposeService | None:
        """Return the service to which a `SERVICE:ALIAS` in its `links` gives that name."""
        for link in consumer.links:
            name, _, alias = link.partition(":")
            if alias == host:
                return self._project.services.get(name)
        return None

    def _namespace(self, service: ComposeService) -> ComposeService:
        """Return the service whose network it uses: NAME with `network_mode: service:NAME`, else itself."""
        mode, _, name = (service.network_mode or "").partition(":")
        if mode == "service":
            return self._project.services.get(name, service)
        if mode == "container":
            return next((s for s in self._by_name.get(name.lower(), []) if s.container_name == name), service)
        return service

    def _meets_others(self, consumer: ComposeService) -> bool:
        """Return whether it is in a network that may contain services unknown to the file."""
        networks = self._project.networks
        return any(name in networks and networks[name].external for name in consumer.network_names)


def other_names(service: ComposeService) -> list[str]:
    """Return the further names under which Docker would find a service."""
    own = [name for name in (service.container_name, service.hostname) if name]
    return own + [alias for attachment in service.networks for alias in attachment.aliases]


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
