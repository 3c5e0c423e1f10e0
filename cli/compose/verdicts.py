"""Judges whether an address works: which service it means, whether that listens on the port, and the right port.

Pure. It opens no connection and knows only the compose file.
"""

from __future__ import annotations

import msgspec

from cli.compose.addresses import HardCodedAddress, addresses_of
from cli.compose.errors import Place
from cli.compose.findings import AuditFinding
from cli.compose.fleet_names import FleetNames, Meant, NameMatch
from cli.compose.listening_ports import ListeningPorts, listening_of
from cli.compose.model import ComposeService, Project
from cli.compose.ports import is_port
from registry_core.domain.host_port import host_port


class Judged(msgspec.Struct, frozen=True):
    """An address, the service that it means, and what is wrong with it, if anything.

    `target` is that service, None when it is outside the file. `right` is the port that it listens on, as
    far as the file tells. `code` is the finding's code, None for a good address.
    """

    service: str
    address: HardCodedAddress
    meant: Meant
    target: str | None
    listens: tuple[int, ...]
    right: int | None
    code: str | None


class Judge:
    """Judges all addresses of a fleet."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.names = FleetNames(project)
        self.listening = {name: listening_of(s) for name, s in project.services.items()}
        # The first two services that listen on each port: enough to tell whether there is only one.
        self._listeners: dict[int, list[str]] = {}
        self._shown: dict[int, tuple[str, int]] = {}
        for name, listening in self.listening.items():
            for port in listening.numbers:
                if len(namesakes := self._listeners.setdefault(port, [])) < 2:
                    namesakes.append(name)
            for shown, target in listening.shown:
                self._shown.setdefault(shown, (name, target))

    def judged(self, service: ComposeService) -> list[tuple[Judged, AuditFinding | None]]:
        """Return each address of a service with its finding, None for a good address."""
        return [self._one(service, address) for address in addresses_of(service, self.names.is_known)]

    def _one(self, service: ComposeService, address: HardCodedAddress) -> tuple[Judged, AuditFinding | None]:
        name_match = self.names.of(service, address.host)
        match name_match.meant:
            case Meant.ITSELF:
                return self._at_itself(service, address, name_match)
            case Meant.HOST:
                return self._at_the_host(service, address)
            case Meant.OUTSIDE | Meant.UNKNOWN:
                return self._elsewhere(service, address, name_match.meant)
            case _:
                return self._at(service, address, name_match)

    def _at(
        self, service: ComposeService, address: HardCodedAddress, name_match: NameMatch
    ) -> tuple[Judged, AuditFinding | None]:
        """Judge an address that means a service in the file."""
        target, listening = self._best(address, name_match)
        right = self._right(address, listening)
        host = address.host if name_match.meant is Meant.SERVICE else target.name
        listens = tuple(listening.numbers)
        written = f"{address.written}"
        code: str | None = None
        message = ""
        if address.port is not None and not is_port(address.port):
            code, message = "port-out-of-range", f"{written}: a port is a number from 1 to 65535"
            message += f"; {target.name} listens on {listening.text}" if listening.known else ""
        elif name_match.meant is Meant.OTHER_SPELLING:
            code, message = "other-spelling", f"{written}: the service is called {target.name}"
            if address.port is not None and right is not None and right != address.port:
                message += f", and listens on {listening.text}"
        elif name_match.meant is Meant.NOT_SHARED:
            code = "no-shared-network"
            message = f"{written}: {service.name} is in {_networks(service)}, {target.name} in {_networks(target)}"
        elif address.port is None:
            code, message = "no-port", f"{written} has no port; {target.name} listens on {listening.text or '?'}"
        elif not address.is_http and any(address.port in ports for ports in listening.others):
            right = address.port
        elif not listening.known:
            code, message = "unknown-port", f"{written}: the file does not say on which port {target.name} listens"
        elif not listening.is_declared(address.port):
            code, message = self._undeclared(address.port, written, target, listening)
        judged = Judged(service.name, address, name_match.meant, target.name, listens, right, code)
        if code is None:
            return judged, None
        correct = self._rewritten(address, host, right if address.port is not None else None)
        correct = str(right) if code == "no-port" else correct
        return judged, _finding(judged, message, None if right is None else correct)

    def _undeclared(
        self, port: int, written: str, target: ComposeService, listening: ListeningPorts
    ) -> tuple[str | None, str]:
        hint = listening.hinted.get(port)
        if listening.declared and hint is not None:
            return "doubtful-port", f"{written}: {target.name} declares {listening.text}, but {hint} mentions {port}"
        if hint is not None:
            return None, ""
        behind = listening.behind(port)
        if behind is not None:
            return "published-port", f"{written}: {port} is published on the host; {target.name} listens on {behind}"
        if listening.declared:
            return "wrong-port", f"{written}: {target.name} listens on {listening.text}"
        return "unproven-port", f"{written}: {target.name} declares no port; it mentions {listening.text}"

    def _best(self, address: HardCodedAddress, name_match: NameMatch) -> tuple[ComposeService, ListeningPorts]:
        """Return the first match that listens on the port, else the first match."""
        port = address.port
        for service in name_match.services:
            listening = self.listening[service.name]
            if port is not None and (listening.is_declared(port) or port in listening.hinted):
                return service, listening
        first = name_match.services[0]
        return first, self.listening[first.name]

    def _right(self, address: HardCodedAddress, listening: ListeningPorts) -> int | None:
        port = address.port
        if port is None:
            return listening.main
        if listening.is_declared(port) or (not listening.declared and port in listening.hinted):
            return port
        return listening.behind(port) or listening.main

    def _at_itself(
        self, service: ComposeService, address: HardCodedAddress, name_match: NameMatch
    ) -> tuple[Judged, AuditFinding | None]:
        own = [self.listening[s.name] for s in name_match.services]
        port = address.port
        if port is None or any(o.is_declared(port) or port in o.hinted for o in own):
            return Judged(service.name, address, Meant.ITSELF, service.name, (), port, None), None
        if not is_port(port):
            return _no_port(service, address, Meant.ITSELF)
        others = [name for name in self._listeners.get(port, []) if name != service.name]
        message = f"{address.written} is {service.name} itself, which does not listen there"
        right = None
        behind = next((target for o in own if (target := o.behind(port)) is not None), None)
        if behind is not None:
            message += f"; on the host, that is its port {behind}"
            right = self._rewritten(address, address.host, behind)
        elif len(others) == 1:
            message += f"; {others[0]} listens on {port}"
            right = self._rewritten(address, others[0], port)
        judged = Judged(service.name, address, Meant.ITSELF, None, (), None, "localhost")
        return judged, _finding(judged, message, right)

    def _at_the_host(self, service: ComposeService, address: HardCodedAddress) -> tuple[Judged, AuditFinding | None]:
        if address.port is not None and not is_port(address.port):
            return _no_port(service, address, Meant.HOST)
        name, target = self._shown.get(address.port or 0, (None, None))
        message = f"{address.written} is on the host"
        right = None
        if name is not None and target is not None:
            message += f", where it is port {target} of {name}"
            right = self._rewritten(address, name, target)
        judged = Judged(service.name, address, Meant.HOST, name, (), target, "by-the-host")
        return judged, _finding(judged, message, right)

    def _elsewhere(
        self, service: ComposeService, address: HardCodedAddress, meant: Meant
    ) -> tuple[Judged, AuditFinding | None]:
        if address.port is not None and not is_port(address.port):
            return _no_port(service, address, meant)
        code = "outside" if meant is Meant.OUTSIDE else "unknown-target"
        why = " is outside the file" if meant is Meant.OUTSIDE else ": no service of the file has that name"
        judged = Judged(service.name, address, meant, None, (), None, code)
        return judged, _finding(judged, f"{address.written}{why}", None)

    def _rewritten(self, address: HardCodedAddress, host: str, port: int | None) -> str:
        """Return the corrected address, or only the port when another variable holds it."""
        if address.port_variable is not None and port is not None and host == address.host:
            return f"{address.port_variable}={port}"
        scheme = f"{address.scheme}://" if address.scheme else ""
        return f"{scheme}{host_port(host, port)}" if port is not None else f"{scheme}{host}"


def _no_port(service: ComposeService, address: HardCodedAddress, meant: Meant) -> tuple[Judged, AuditFinding]:
    judged = Judged(service.name, address, meant, None, (), None, "port-out-of-range")
    return judged, _finding(judged, f"{address.written}: a port is a number from 1 to 65535", None)


def _finding(judged: Judged, message: str, right: str | None) -> AuditFinding:
    """Return the finding of a judged address, placed at the port when the port is wrong."""
    address, code = judged.address, judged.code or ""
    place: Place = address.place
    variable = address.variable
    if address.port_variable is not None and code in ("wrong-port", "published-port", "port-out-of-range"):
        place, variable = address.port_place or place, address.port_variable
    return AuditFinding(code, judged.service, place, message, variable, right, judged.target)


def _networks(service: ComposeService) -> str:
    return ", ".join(sorted(service.network_names)) or (service.network_mode or "none")
