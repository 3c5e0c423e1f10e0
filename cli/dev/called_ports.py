"""Finds the port of a service by how the rest of its fleet calls it, where nothing else tells one.

Pure. A fleet that works calls its services on their ports, so one port on which all callers agree is taken. It serves
stand-ins only: of an address that may be wrong nothing is registered for real.
"""

from __future__ import annotations

from cli.compose.addresses import addresses_of
from cli.compose.fleet_names import FleetNames, other_names
from cli.compose.model import ComposeService, Project
from cli.compose.own_port import OwnPort
from cli.compose.ports import is_port


class CalledPorts:
    """The ports at which the services of a fleet call each other."""

    def __init__(self, project: Project) -> None:
        self._callers: dict[str, dict[int, str]] = {}
        names = FleetNames(project)
        for service in project.services.values():
            for found in addresses_of(service, names.is_known):
                is_written = found.port_written or found.port_variable is not None
                if found.port is not None and is_port(found.port) and is_written:
                    self._callers.setdefault(found.host.lower(), {}).setdefault(found.port, service.name)

    def of(self, service: ComposeService) -> OwnPort | None:
        """Return the one port at which others call a service, None when there is none, or more than one."""
        ports: dict[int, str] = {}
        for name in dict.fromkeys((service.name, *other_names(service))):
            ports |= self._callers.get(name.lower(), {})
        callers = [(port, caller) for port, caller in ports.items() if caller != service.name]
        if len(callers) != 1:
            return None
        [(port, caller)] = callers
        return OwnPort(port, str(port), f"{caller}, which calls it there")
