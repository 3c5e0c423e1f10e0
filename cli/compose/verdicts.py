"""Judges whether an address works: which service it means, whether that listens on the port, and the right port.

Pure. It opens no connection and knows only the compose file. A port is wrong only where something proves it; a name
that is compared and not looked up is never wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from cli.compose.address_syntax import HardCodedAddress
from cli.compose.addresses import addresses_of, identity_of_address
from cli.compose.discovered_names import ZONE, DiscoveredNames
from cli.compose.errors import Place
from cli.compose.findings import AuditFinding
from cli.compose.fleet_names import FleetNames, Meant, NameMatch
from cli.compose.listening_ports import ListeningPorts, listening_of
from cli.compose.model import ComposeService, Project
from cli.compose.own_images import own_images
from cli.compose.ports import is_port
from cli.compose.sidecars import Recipe
from registry_core.domain.host_port import host_port

OWN_NAME: Final = "it is its own address, which it is told or tells others"
_NAMES_A_SERVICE: Final = frozenset({Meant.SERVICE, Meant.OTHER_SPELLING, Meant.NOT_SHARED})


class Judged(msgspec.Struct, frozen=True):
    """An address, the service that it means, and what is wrong with it, if anything.

    `target` is that service, None when it is outside the file or nobody looks the name up. `right` is the port that it
    listens on, as far as the file tells. `code` is the finding's code, None for a good address. `evidence`: what proves
    it wrong. `identity`: why the name is compared and not looked up. `is_discovered`: it is a name in the zone of the
    agents. `holders`: the services that have the name, when there are several.
    """

    service: str
    address: HardCodedAddress
    meant: Meant
    target: str | None
    listens: tuple[int, ...]
    right: int | None
    code: str | None
    evidence: str = ""
    identity: str = ""
    is_discovered: bool = False
    holders: tuple[str, ...] = ()

    @property
    def is_hard_coded(self) -> bool:
        """Whether it is looked up by a name or an address that no agent answers for."""
        return not self.identity and not self.is_discovered


class _PortVerdict(NamedTuple):
    """What is wrong with a port: the finding's code, its message, what proves it, and the right port."""

    code: str | None = None
    message: str = ""
    evidence: str = ""
    right: int | None = None


class Judge:
    """Judges all addresses of a fleet."""

    def __init__(
        self, project: Project, zones: Iterable[str] = (ZONE,), recipes: frozenset[Recipe] = frozenset()
    ) -> None:
        self._project = project
        self._names = FleetNames(project)
        self._discovered = DiscoveredNames(project, zones)
        # With the host's agent, names lead to the host, and its published ports are the right ones.
        self._by_host = not recipes or Recipe.HOST in recipes
        own = own_images(project)
        self.listening = {n: listening_of(s, is_own_image=n in own) for n, s in project.services.items()}
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
        return [self._one(service, address) for address in addresses_of(service, self._is_known)]

    def _is_known(self, host: str) -> bool:
        return self._names.is_known(host) or self._discovered.is_in_zone(host)

    def _one(self, service: ComposeService, address: HardCodedAddress) -> tuple[Judged, AuditFinding | None]:
        identity = identity_of_address(address)
        if self._discovered.is_in_zone(address.host):
            return self._compared_in_zone(service, address, identity) if identity else self._in_zone(service, address)
        name_match = self._names.of(service, address.host)
        if identity:
            return self._compared(service, address, name_match, identity)
        match name_match.meant:
            case Meant.ITSELF:
                return self._at_itself(service, address, name_match)
            case Meant.HOST:
                return self._at_the_host(service, address)
            case Meant.OUTSIDE | Meant.UNKNOWN:
                return self._elsewhere(service, address, name_match.meant)
            case _:
                if name_match.services[0] is service:
                    return Judged(service.name, address, Meant.ITSELF, None, (), None, None, identity=OWN_NAME), None
                return self._at(service, address, name_match)

    def _compared(
        self, service: ComposeService, address: HardCodedAddress, name_match: NameMatch, identity: str
    ) -> tuple[Judged, AuditFinding | None]:
        """Judge a name that nobody looks up: it is right as it is, and worth a word when it is a service's."""
        if name_match.meant not in _NAMES_A_SERVICE:
            return Judged(service.name, address, name_match.meant, None, (), None, None, identity=identity), None
        judged = Judged(service.name, address, name_match.meant, None, (), None, "identity", identity=identity)
        return judged, _finding(judged, f"{address.written}: {identity}", None)

    def _compared_in_zone(
        self, service: ComposeService, address: HardCodedAddress, identity: str
    ) -> tuple[Judged, None]:
        """Judge a discovered name that nobody looks up, such as one that a server accepts in a Host header."""
        target = self._discovered.service_of(address.host)
        name = None if target is None else target.name
        judged = Judged(service.name, address, Meant.OUTSIDE, name, (), None, None)
        return msgspec.structs.replace(judged, identity=identity, is_discovered=True), None

    def _in_zone(self, service: ComposeService, address: HardCodedAddress) -> tuple[Judged, AuditFinding | None]:
        """Judge a discovered name: it leads to a service under the port that is registered for it."""
        target = self._discovered.service_of(address.host)
        if target is None:
            judged = Judged(service.name, address, Meant.OUTSIDE, None, (), None, "outside", is_discovered=True)
            return judged, _finding(judged, f"{address.written}: no service of the file has that discovered name", None)
        listening = self.listening[target.name]
        port, verdict = address.port, _PortVerdict(right=address.port)
        if port is not None and not is_port(port):
            verdict = _out_of_range(address, target, listening)
        elif port is None or listening.is_named(port) or (self._by_host and listening.behind(port) is not None):
            pass
        elif not listening.known:
            message = f"{address.written}: the file does not say on which port {target.name} listens"
            verdict = _PortVerdict("unknown-port", message)
        elif (behind := listening.behind(port)) is not None:
            verdict = _published(address, behind, target, listening)
        else:
            message = f"{address.written}: {target.name} is registered under {listening.main}"
            evidence = "a discovered name is right under the registered port alone"
            verdict = _PortVerdict("wrong-port", message, evidence, listening.main)
        return self._told(service, address, NameMatch(Meant.SERVICE, (target,)), target, verdict, is_discovered=True)

    def _at(
        self, service: ComposeService, address: HardCodedAddress, name_match: NameMatch
    ) -> tuple[Judged, AuditFinding | None]:
        """Judge an address that means a service in the file."""
        target, listening = self._best(address, name_match)
        written, port = address.written, address.port
        others = [self.listening[s.name] for s in name_match.services if s is not target]
        on_port = (
            _PortVerdict(right=listening.main) if port is None else self._on_port(address, target, listening, others)
        )
        if port is not None and not is_port(port):
            verdict = _out_of_range(address, target, listening)
        elif name_match.meant is Meant.OTHER_SPELLING:
            message = f"{written}: the service is called {target.name}"
            if port is not None and on_port.right not in (port, None):
                message += f", and listens on {listening.text}"
            evidence = "to Docker, '_' and '-' are different letters"
            verdict = _PortVerdict("other-spelling", message, evidence, on_port.right or port)
        elif name_match.meant is Meant.NOT_SHARED:
            networks = f"{service.name} is in {_networks(service)}, {target.name} in {_networks(target)}"
            verdict = _PortVerdict("no-shared-network", f"{written}: {networks}", "", on_port.right or port)
        elif port is None:
            message = f"{written} has no port; {target.name} listens on {listening.text or '?'}"
            verdict = _PortVerdict("no-port", message, "", listening.main)
        else:
            verdict = on_port
        return self._told(service, address, name_match, target, verdict)

    def _told(
        self,
        service: ComposeService,
        address: HardCodedAddress,
        name_match: NameMatch,
        target: ComposeService,
        verdict: _PortVerdict,
        *,
        is_discovered: bool = False,
    ) -> tuple[Judged, AuditFinding | None]:
        listens = tuple(self.listening[target.name].numbers)
        judged = Judged(
            *(service.name, address, name_match.meant, target.name, listens, verdict.right, verdict.code),
            evidence=verdict.evidence,
            is_discovered=is_discovered,
            holders=name_match.holders,
        )
        if verdict.code is None:
            return judged, None
        host = target.name if name_match.meant is Meant.OTHER_SPELLING else address.host
        correct = self._rewritten(address, host, verdict.right if address.port is not None else None)
        correct = str(verdict.right) if verdict.code == "no-port" else correct
        return judged, _finding(judged, verdict.message, None if verdict.right is None else correct)

    def _on_port(
        self,
        address: HardCodedAddress,
        target: ComposeService,
        listening: ListeningPorts,
        others: Iterable[ListeningPorts],
    ) -> _PortVerdict:
        """Return what is wrong with an address's port at its target, which may be nothing.

        `others` are the ports of the services that have the same name or network: one of them may listen there.
        """
        port, written = address.port or 0, address.written
        if not address.is_http and any(port in ports for ports in listening.others):
            return _PortVerdict(right=port)
        if listening.is_declared(port):
            return _PortVerdict(right=port)
        if port in listening.hinted:
            if not listening.declared:
                return _PortVerdict(right=port)
            message = (
                f"{written}: {target.name} declares {listening.text}, but {listening.hinted[port]} mentions {port}"
            )
            return _PortVerdict("doubtful-port", message, "", port)
        if port in listening.mentioned:
            return _PortVerdict(right=port)
        if not listening.known:
            message = f"{written}: the file does not say on which port {target.name} listens"
            return _PortVerdict("unknown-port", message)
        behind = listening.behind(port)
        if behind is not None and address.is_complete:
            return _published(address, behind, target, listening)
        proof = listening.against(port, is_http=address.is_http)
        is_ruled_out = all(other.against(port, is_http=address.is_http) is not None for other in others)
        if proof is not None and is_ruled_out and address.is_complete:
            message = f"{written}: {target.name} listens on {listening.text}"
            built = "built here" if target.build is not None else "the fleet's own"
            evidence = f"its image is {built}, and {proof.source} in {_where(proof.place, address.place)}"
            return _PortVerdict("wrong-port", message, evidence, listening.main)
        says = "names" if listening.declared else "mentions"
        message = f"{written}: {target.name} {says} {listening.text}, and nothing shows whether it listens on {port}"
        return _PortVerdict("unproven-port", message)

    def _best(self, address: HardCodedAddress, name_match: NameMatch) -> tuple[ComposeService, ListeningPorts]:
        """Return the first match that listens on the port, else the first match."""
        port = address.port
        for service in name_match.services:
            listening = self.listening[service.name]
            if port is not None and listening.is_named(port):
                return service, listening
        first = name_match.services[0]
        return first, self.listening[first.name]

    def _at_itself(
        self, service: ComposeService, address: HardCodedAddress, name_match: NameMatch
    ) -> tuple[Judged, AuditFinding | None]:
        own = [self.listening[s.name] for s in name_match.services]
        port = address.port
        if port is None or any(o.is_named(port) for o in own):
            return Judged(service.name, address, Meant.ITSELF, service.name, (), port, None), None
        if not is_port(port):
            return _no_port(service, address, Meant.ITSELF)
        others = [name for name in self._listeners.get(port, []) if name != service.name]
        message = f"{address.written} is {service.name} itself, and nothing shows that it listens there"
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


def _out_of_range(address: HardCodedAddress, target: ComposeService, listening: ListeningPorts) -> _PortVerdict:
    message = f"{address.written}: a port is a number from 1 to 65535"
    message += f"; {target.name} listens on {listening.text}" if listening.known else ""
    return _PortVerdict("port-out-of-range", message, f"there is no port {address.port}", listening.main)


def _published(
    address: HardCodedAddress, behind: int, target: ComposeService, listening: ListeningPorts
) -> _PortVerdict:
    port = address.port or 0
    message = f"{address.written}: {port} is published on the host; {target.name} listens on {behind}"
    where = _where(listening.mapping_of(port) or target.place, address.place)
    return _PortVerdict("published-port", message, f"`ports` in {where} maps {port} of the host to {behind}", behind)


def _where(place: Place, seen_from: Place) -> str:
    """Return a place, without its file where that is the one in hand."""
    return f"line {place.line}" if place.file == seen_from.file and place.line else str(place)


def _no_port(service: ComposeService, address: HardCodedAddress, meant: Meant) -> tuple[Judged, AuditFinding]:
    evidence = f"there is no port {address.port}"
    judged = Judged(service.name, address, meant, None, (), None, "port-out-of-range", evidence=evidence)
    return judged, _finding(judged, f"{address.written}: a port is a number from 1 to 65535", None)


def _finding(judged: Judged, message: str, right: str | None) -> AuditFinding:
    """Return the finding of a judged address, placed at the port when the port is wrong."""
    address, code = judged.address, judged.code or ""
    place: Place = address.place
    variable = address.variable
    if address.port_variable is not None and code in ("wrong-port", "published-port", "port-out-of-range"):
        place, variable = address.port_place or place, address.port_variable
    return AuditFinding(code, judged.service, place, message, variable, right, judged.target, evidence=judged.evidence)


def _networks(service: ComposeService) -> str:
    return ", ".join(sorted(service.network_names)) or (service.network_mode or "none")
