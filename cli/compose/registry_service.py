"""The registry that `compose inject --with-registry` adds to a compose file, and whether agents can reach a registry.

Pure. The registry is one replica that keeps everything in memory; after a restart, agents register again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from cli.compose.agent_options import hosts_of
from cli.compose.fleet_names import FleetNames, Meant, NameMatch
from cli.compose.model import DEFAULT_NETWORK, Project
from cli.compose.sidecars import (
    LABEL,
    REGISTRY_LABEL,
    REGISTRY_PORT,
    REGISTRY_SERVICE,
    SECRET_VARIABLE,
    Options,
    Recipe,
    SidecarSpec,
)
from registry_core.domain.names import ip_address
from registry_core.domain.registration import DEFAULT_RULES

_MEMORY: Final = "256M"
_NEEDED: Final = "set it to a long random secret that the registry and its agents share"


class UnreachedRegistry(msgspec.Struct, frozen=True):
    """A registry that agents cannot reach, and why. `services`: those whose agents cannot, empty for all."""

    url: str
    why: str
    services: tuple[str, ...] = ()

    @property
    def of(self) -> str:
        """Which agents cannot, as words after `the agents`."""
        return f" of {', '.join(self.services)}" if self.services else ""


def free_host_port(project: Project) -> int:
    """Return the first port from 8888 on that no service publishes on the host."""
    taken = {
        published
        for service in project.services.values()
        for entry in service.ports
        if entry.protocol == "tcp"
        for published, _ in entry.pairs()
    }
    return next(port for port in range(REGISTRY_PORT, 65536) if port not in taken)


def unreached(
    urls: str, project: Project, sidecars: Sequence[SidecarSpec], options: Options
) -> Iterator[UnreachedRegistry]:
    """Return the registries of a list that agents cannot reach, as far as the file tells.

    A name with a dot, an IP address and a name on a network that the file does not describe may well be reached.
    """
    names = FleetNames(project)
    for url, host in hosts_of(urls):
        address = ip_address(host)
        is_loopback = host == "localhost" or (address is not None and address.is_loopback)
        if options.recipe is Recipe.HOST:
            if not is_loopback and host in project.services:
                why = f"{host} is a name among containers, and the agent is in the host's network"
                yield UnreachedRegistry(url, why)
        elif is_loopback:
            yield UnreachedRegistry(url, "there, an agent in a container reaches its own container")
        else:
            yield from _unreached_name(
                url, host, {s.service: names.of(project.services[s.service], host) for s in sidecars}
            )


def _unreached_name(url: str, host: str, matches: Mapping[str, NameMatch]) -> Iterator[UnreachedRegistry]:
    """Return the registry if its host, which means this to each service, cannot be reached."""
    apart = tuple(service for service, match in matches.items() if match.meant is Meant.NOT_SHARED)
    if apart:
        yield UnreachedRegistry(url, f"they share no network with {host}", apart)
    elif any(match.meant in (Meant.UNKNOWN, Meant.OTHER_SPELLING) for match in matches.values()):
        yield UnreachedRegistry(url, f"no service of the file is called {host}")


def registry_entries(sidecars: Iterable[SidecarSpec], options: Options) -> dict[str, Any]:
    """Return the service that `--with-registry` adds, in the networks of all agents; nothing without that option."""
    if not options.registry_image:
        return {}
    specs = list(sidecars)
    environment = {
        # Compose itself refuses to start anything without it, and says why.
        SECRET_VARIABLE: f"${{{SECRET_VARIABLE}:?{_NEEDED}}}"
    }
    lowest = min((spec.port for spec in specs), default=DEFAULT_RULES.min_port)
    if lowest < DEFAULT_RULES.min_port:
        environment["REGISTRY_MIN_PORT"] = str(lowest)
    networks = dict.fromkeys(network for spec in specs for network in spec.networks or (DEFAULT_NETWORK,))
    entry: dict[str, Any] = {
        "image": options.registry_image,
        "restart": "unless-stopped",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "deploy": {"resources": {"limits": {"memory": _MEMORY}}},
        "labels": {LABEL: REGISTRY_LABEL},
        "environment": environment,
        # For the commands of `vertice` on this host, and for an agent in the host's network.
        "ports": [f"127.0.0.1:{options.registry_port}:{REGISTRY_PORT}"],
    }
    if options.recipe is not Recipe.HOST and networks.keys() != {DEFAULT_NETWORK}:
        entry["networks"] = list(networks)
    return {REGISTRY_SERVICE: entry}
