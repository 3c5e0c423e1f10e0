"""Who is meant by a host name in a fleet: a service, the container itself, the host, or somebody outside.

Pure. A name means what Docker's resolver would say: service names, container names, host names and aliases,
whatever the case, and only among those that share a network. To Docker, '_' and '-' are two letters.
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
    """Who a host name means."""

    SERVICE = "service"
    OTHER_SPELLING = "other spelling"  # there is such a service, with '_' for '-' or the other way round
    NOT_SHARED = "no shared network"  # there is such a service, and the two share no network
    ITSELF = "itself"
    HOST = "host"
    OUTSIDE = "outside"  # with a dot, an IP address, or known by `extra_hosts`
    UNKNOWN = "unknown"


class NameMatch(msgspec.Struct, frozen=True):
    """Who is meant, and the services that it may be."""

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
            # A name that thousands share would be gone through for each of their addresses.
            if len(namesakes) < MAX_NAMESAKES and service not in namesakes:
                namesakes.append(service)

    def is_known(self, host: str) -> bool:
        """Return whether any service has that name, in whatever spelling."""
        return label_of(host) in self._by_label

    def of(self, consumer: ComposeService, host: str) -> NameMatch:
        """Return who is meant when `consumer` calls `host`."""
        name = host.lower().rstrip(".")
        if name == "localhost" or name.startswith("127."):
            return self._itself(consumer)
        if name in _HOST_NAMES:
            return NameMatch(Meant.HOST)
        exact = self._by_name.get(name, [])
        mine = self._namespace(consumer).network_names
        shared = [s for s in exact if s.name == consumer.name or self._namespace(s).network_names & mine]
        if shared:
            # A service's own name goes before what others are called besides.
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
        """Return the service that a `SERVICE:ALIAS` of its `links` calls by that name."""
        for link in consumer.links:
            name, _, alias = link.partition(":")
            if alias == host:
                return self._project.services.get(name)
        return None

    def _namespace(self, service: ComposeService) -> ComposeService:
        """Return whose network a service uses: another's with `network_mode: service:NAME`, else its own."""
        mode, _, name = (service.network_mode or "").partition(":")
        if mode == "service":
            return self._project.services.get(name, service)
        if mode == "container":
            return next((s for s in self._by_name.get(name.lower(), []) if s.container_name == name), service)
        return service

    def _meets_others(self, consumer: ComposeService) -> bool:
        """Return whether it is in a network in which there may be others, of whom the file knows nothing."""
        networks = self._project.networks
        return any(name in networks and networks[name].external for name in consumer.network_names)


def other_names(service: ComposeService) -> list[str]:
    """Return the names besides its own under which Docker would find a service."""
    own = [name for name in (service.container_name, service.hostname) if name]
    return own + [alias for attachment in service.networks for alias in attachment.aliases]


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
