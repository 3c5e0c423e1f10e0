"""Resolves a host name in a fleet: to a service, the container itself, the host, or something outside.

Pure. Names resolve as in Docker: first those of the container's hosts file, then those of links, then names on the
networks that the container is in. On each network a container has its own name, its host name, the name of its
service and the aliases of that network; case does not matter, but '_' and '-' are different characters.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

import msgspec

from cli.compose.model import ComposeService, Project
from registry_core.domain.names import label_of

_HOST_NAMES: Final = frozenset(
    {"host.docker.internal", "gateway.docker.internal", "host.containers.internal", "docker.for.mac.localhost"}
)
_HOST_GATEWAY: Final = "host-gateway"
# Modes that put a container in no network where names resolve.
_WITHOUT_NAMES: Final = frozenset({"none", "host", "bridge", "default"})
_BRIDGE: Final = frozenset({"bridge", "default"})
MAX_NAMESAKES: Final = 8
MAX_CONTAINERS: Final = 50
_Key = TypeVar("_Key", str, tuple[str, str])


class Meant(enum.Enum):
    """What a host name means."""

    SERVICE = "service"
    OTHER_SPELLING = "other spelling"  # such a service exists, with '_' for '-' or vice versa
    NOT_SHARED = "no shared network"  # such a service exists, but the name does not resolve where it is used
    ITSELF = "itself"
    HOST = "host"
    OUTSIDE = "outside"  # with a dot, an IP address, or known by `extra_hosts` or `external_links`
    UNKNOWN = "unknown"


class NameMatch(msgspec.Struct, frozen=True):
    """What a name means, and the services that it may mean.

    `holders`: the names of those that have it, when there are several, such as one for each profile.
    """

    meant: Meant
    services: tuple[ComposeService, ...] = ()
    holders: tuple[str, ...] = ()


class FleetNames:
    """All names of a fleet."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._real = {key: network.called or f"{project.name}_{key}" for key, network in project.networks.items()}
        self._external = frozenset(self._real[key] for key, network in project.networks.items() if network.external)
        self._known = frozenset(self._real.values())
        # The networks in which each service has an address of its own.
        self._endpoints = {name: tuple(self._joined(service)) for name, service in project.services.items()}
        self._containers: dict[str, ComposeService] = {}
        for service in project.services.values():
            self._containers.update(dict.fromkeys(container_names(project.name, service), service))
        # By name alone, by name without regard to '_' and '-', and by name and network.
        self._by_name: dict[str, list[ComposeService]] = {}
        self._by_label: dict[str, list[ComposeService]] = {}
        self._by_place: dict[tuple[str, str], list[ComposeService]] = {}
        self._by_address: dict[str, list[tuple[ComposeService, str]]] = {}
        # The services that use the network of another, by the name of that one.
        self._guests: dict[str, list[ComposeService]] = {}
        for service in project.services.values():
            self._add(service.name, service, self._networks_with_name(service))
        for service in project.services.values():
            self._add_others(service)

    def _add_others(self, service: ComposeService) -> None:
        """Add the names of a service beside its own, its addresses, and whose network it uses."""
        owner = self._namespace(service)
        if owner is not service:
            _append(self._guests, owner.name, service)
        networks = self._endpoints[service.name]
        for name in (*container_names(self._project.name, service), service.hostname):
            if name:
                self._add(name, service, networks)
        for attachment in service.networks:
            network = self._network(attachment.network)
            for alias in attachment.aliases:
                self._add(alias, service, (network,))
            for address in attachment.addresses:
                self._by_address.setdefault(address, []).append((service, network))

    def _add(self, name: str, service: ComposeService, networks: Iterable[str]) -> None:
        _append(self._by_name, name.lower(), service)
        _append(self._by_label, label_of(name), service)
        for network in networks:
            _append(self._by_place, (name.lower(), network), service)

    def _joined(self, service: ComposeService) -> Iterator[str]:
        mode = service.network_mode
        if mode is None:
            yield from (self._network(attachment.network) for attachment in service.networks)
        elif mode not in _WITHOUT_NAMES and not mode.startswith(("service:", "container:")):
            yield mode

    def _network(self, key: str) -> str:
        """Return the name by which Docker knows a network of the project."""
        return self._real.get(key) or f"{self._project.name}_{key}"

    def _networks_with_name(self, service: ComposeService) -> Iterator[str]:
        """Return the networks in which the name of the service resolves: none for one that `network_mode` names."""
        if service.network_mode is None:
            yield from (self._network(attachment.network) for attachment in service.networks if attachment.named)

    def is_known(self, host: str) -> bool:
        """Return whether any service has that name, in any spelling, or that address."""
        return label_of(host) in self._by_label or host in self._by_address

    def of(self, consumer: ComposeService, host: str) -> NameMatch:
        """Return what `host` means to `consumer`."""
        name = host.lower().rstrip(".")
        # Whose network it uses, his hosts file it has, and his links.
        owner = self._namespace(consumer)
        if name == "localhost" or name.startswith("127."):
            return self._itself(consumer, owner)
        for known, address in owner.extra_hosts:
            if known.lower() == name:
                return self._by_hosts_file(owner, address)
        if name in _HOST_NAMES:
            return NameMatch(Meant.HOST)
        if _is_ip(name):
            return self._with_address(owner, name)
        linked = self._linked(owner, name)
        if linked is not None:
            return linked
        found = self._resolved(consumer, owner, name)
        if found:
            # A service's own name takes precedence over others' aliases.
            first = [s for s in found if s.name.lower() == name] or found
            return self._reached(first)
        if self._is_elsewhere(owner):
            return NameMatch(Meant.OUTSIDE)
        exact = self._by_name.get(name, [])
        if exact:
            return NameMatch(Meant.NOT_SHARED, tuple(exact))
        spelled = self._by_label.get(label_of(name), [])
        if spelled:
            return NameMatch(Meant.OTHER_SPELLING, tuple(spelled), _if_several(spelled))
        if "." in name or self._meets_others(owner):
            return NameMatch(Meant.OUTSIDE)
        return NameMatch(Meant.UNKNOWN)

    def _itself(self, consumer: ComposeService, owner: ComposeService) -> NameMatch:
        if owner.network_mode == "host":
            return NameMatch(Meant.HOST)
        together = [owner, *self._guests.get(owner.name, ())]
        return NameMatch(Meant.ITSELF, (consumer, *(s for s in together if s.name != consumer.name)))

    def _reached(self, services: Sequence[ComposeService]) -> NameMatch:
        """Return services that a name leads to, each with those that listen in its network as well."""
        found = {s.name: s for service in services for s in (service, *self._guests.get(service.name, ()))}
        return NameMatch(Meant.SERVICE, tuple(found.values()), _if_several(services))

    def _by_hosts_file(self, owner: ComposeService, address: str) -> NameMatch:
        if address == _HOST_GATEWAY:
            return NameMatch(Meant.HOST)
        return self._with_address(owner, address)

    def _with_address(self, owner: ComposeService, address: str) -> NameMatch:
        """Return the service that has a static address; it is reached in its network alone."""
        holders = self._by_address.get(address, [])
        mine = self._endpoints[owner.name]
        reached = [service for service, network in holders if network in mine]
        if reached:
            return self._reached(reached)
        if holders and not self._is_elsewhere(owner):
            return NameMatch(Meant.NOT_SHARED, tuple(service for service, _ in holders[:MAX_NAMESAKES]))
        return NameMatch(Meant.OUTSIDE)

    def _linked(self, owner: ComposeService, name: str) -> NameMatch | None:
        """Return what `links` and `external_links` make of a name, None when they do not have it."""
        for link in owner.links:
            target, _, alias = link.partition(":")
            service = self._project.services.get(target)
            if (
                service is not None
                and name == (alias or target).lower()
                and (alias or self._share_bridge(owner, service))
            ):
                return self._linked_to(owner, service)
        for link in owner.external_links:
            target, _, alias = link.partition(":")
            if name == (alias or target).lower():
                inside = self._containers.get(target)
                return NameMatch(Meant.OUTSIDE) if inside is None else self._linked_to(owner, inside)
        return None

    def _linked_to(self, owner: ComposeService, service: ComposeService) -> NameMatch:
        if self._share_bridge(owner, service) or set(self._endpoints[owner.name]) & set(self._endpoints[service.name]):
            return self._reached([service])
        return NameMatch(Meant.NOT_SHARED, (service,))

    def _share_bridge(self, owner: ComposeService, service: ComposeService) -> bool:
        """Return whether both are in Docker's default bridge, where links alone give names."""
        return owner.network_mode in _BRIDGE and service.network_mode in _BRIDGE

    def _resolved(self, consumer: ComposeService, owner: ComposeService, name: str) -> list[ComposeService]:
        """Return the services that have a name on the networks of `owner`: NAME, or NAME.NETWORK."""
        networks = self._endpoints[owner.name]
        found = [s for network in networks for s in self._by_place.get((name, network), ())]
        for network in networks:
            ending = f".{network.lower()}"
            if name.endswith(ending):
                found += self._by_place.get((name.removesuffix(ending), network), ())
        if not found and name in ((consumer.hostname or "").lower(), (owner.hostname or "").lower()):
            found = [consumer]
        return list({service.name: service for service in found}.values())

    def _namespace(self, service: ComposeService) -> ComposeService:
        """Return the service whose network it uses: NAME with `network_mode: service:NAME`, else itself."""
        seen: set[str] = set()
        while service.name not in seen:
            seen.add(service.name)
            mode, _, name = (service.network_mode or "").partition(":")
            if mode == "service":
                service = self._project.services.get(name, service)
            elif mode == "container":
                service = self._containers.get(name, service)
        return service

    def _is_elsewhere(self, owner: ComposeService) -> bool:
        """Return whether it uses the network of a container, or a network, that the file does not have."""
        mode = owner.network_mode or ""
        return mode.startswith("container:") or (mode in self._endpoints[owner.name] and mode not in self._known)

    def _meets_others(self, owner: ComposeService) -> bool:
        """Return whether it is in a network that may contain services unknown to the file."""
        return not self._external.isdisjoint(self._endpoints[owner.name])


def _if_several(services: Sequence[ComposeService]) -> tuple[str, ...]:
    return tuple(service.name for service in services) if len(services) > 1 else ()


def container_names(project: str, service: ComposeService) -> list[str]:
    """Return what Compose calls the containers of a service."""
    if service.container_name:
        return [service.container_name]
    count = min(max(service.replica_count, 1), MAX_CONTAINERS)
    return [f"{project}-{service.name}-{number}" for number in range(1, count + 1)]


def other_names(service: ComposeService) -> list[str]:
    """Return the further names that the file gives to a service."""
    own = [name for name in (service.container_name, service.hostname) if name]
    return own + [alias for attachment in service.networks for alias in attachment.aliases]


def _append(index: dict[_Key, list[ComposeService]], key: _Key, service: ComposeService) -> None:
    # A name shared by thousands would otherwise be searched for each of their addresses.
    namesakes = index.setdefault(key, [])
    if len(namesakes) < MAX_NAMESAKES and service not in namesakes:
        namesakes.append(service)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
