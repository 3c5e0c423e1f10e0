"""Replaces hard-coded addresses by discovered names where that is safe, and gives the reason where it is not.

Pure: text in, text out. A name resolves to an address only, and a client needs the port too. The new value is therefore
`http://<service>.<zone>:<port>`, with the one port under which the service is registered. That is safe when the service
has an agent and no other port, and the client's resolver knows the zone. A name that is compared and not looked up
stays, and so does a port that nothing proves wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from cli.compose.audit import Audit, audit
from cli.compose.databases import is_database
from cli.compose.existing_agents import ExistingAgents
from cli.compose.fleet_names import Meant
from cli.compose.model import ComposeService, EnvEntry, Project
from cli.compose.ports import is_port
from cli.compose.registered_names import RegisteredNames
from cli.compose.renaming import TLS_SCHEMES, Renaming
from cli.compose.value_edits import AddressChange, Piece, Refused, Rewriting, UnchangedAddress, edited, pieces_for
from cli.compose.verdicts import Judged
from registry_core.domain.host_port import host_port
from registry_core.domain.names import label_of

MAX_NAME_LENGTH: Final = 253  # of a whole name in DNS (RFC 1035 section 2.3.4)
_OPEN_SCHEMES: Final = frozenset({"http", "ws", "grpc", "tcp"})
_CALLABLE: Final = frozenset({Meant.SERVICE, Meant.OTHER_SPELLING})
_WRONG_PORT: Final = frozenset({"wrong-port", "published-port", "port-out-of-range"})
_WHY_NOT: Final[Mapping[Meant, str]] = {
    Meant.SERVICE: "it does not mean a service of the file",
    Meant.OTHER_SPELLING: "it does not mean a service of the file",
    Meant.NOT_SHARED: "the two share no network, so that a name would lead nowhere",
    Meant.ITSELF: "localhost is the container itself",
    Meant.HOST: "it is on the host",
    Meant.OUTSIDE: "it is outside the file",
    Meant.UNKNOWN: "no service of the file has that name",
}


def rewritten(text: str, project: Project, agents: ExistingAgents) -> Rewriting:
    """Return a compose file's text with discovered names; `project` is the parsed text.

    Raises NotEditable, and ComposeError when the audit refuses the project.
    """
    return edited(text, project, _Fleet(audit(project, [agents.zone]), agents).pieces_of)


class _Fleet:
    """The audit's verdicts on a fleet, and the replacement of each address."""

    def __init__(self, found: Audit, agents: ExistingAgents) -> None:
        self._services = found.project.services
        self._names = RegisteredNames(found.project)
        self._agents = agents
        self._renaming = Renaming(self._services)
        # Services whose health check asks an undeclared port: there is no telling which port is right.
        self._in_doubt = {f.service for f in found.findings if f.code == "health-port"}
        self._judged: dict[str, list[Judged]] = {}
        for judged in found.addresses:
            self._judged.setdefault(judged.service, []).append(judged)

    def pieces_of(self, service: ComposeService, unchanged: list[UnchangedAddress]) -> Iterator[tuple[EnvEntry, Piece]]:
        """Return the changes to a service's environment; the rest is added to `unchanged`."""
        entries = {entry.name: entry for entry in service.environment}
        for judged in self._judged.get(service.name, []):
            address = judged.address
            if _needs_nothing(judged):
                continue
            try:
                yield from self._pieces(service, judged, entries)
            except Refused as reason:
                unchanged.append(
                    UnchangedAddress(
                        address.place, service.name, address.variable, address.written, str(reason), reason.offered
                    )
                )

    def _pieces(
        self, service: ComposeService, judged: Judged, entries: Mapping[str, EnvEntry]
    ) -> Iterator[tuple[EnvEntry, Piece]]:
        address = judged.address
        if judged.identity:
            raise Refused(judged.identity)
        if judged.is_discovered:
            offered = host_port(address.host, judged.right) if judged.right is not None else ""
            raise Refused("it is a discovered name with a wrong port", offered)
        target = self._target(judged)
        right = self._right_port(judged, target)
        name = self._name(target)
        port_differs = address.port != right
        wanted = host_port(name, right)
        offered = wanted if port_differs else ""
        if address.port is not None and not is_port(address.port):
            raise Refused(f"port {address.port} does not exist, and it is not known which one was meant", offered)
        if self._registered(target) not in self._agents.ports:
            raise Refused(f"{target.name} has no agent to register it", offered)
        if service.name not in self._agents.asking:
            raise Refused(f"{service.name} does not resolve names through an agent", offered)
        if not service.network_names >= target.network_names:
            raise Refused(f"{target.name} is in networks that {service.name} is not in", offered)
        self._renaming.check(service, address, target, name)
        why = f"{target.name} listens on {right}" if port_differs else ""
        if judged.evidence and port_differs:
            why += f": {judged.evidence}"
        over_http = address.is_http or not address.scheme
        change = AddressChange(
            address.place, service.name, address.variable, address.written, wanted, why, over_http=over_http
        )
        yield from pieces_for(entries, address, change)

    def _target(self, judged: Judged) -> ComposeService:
        """Return the target service. Raises Refused when its name cannot replace the address."""
        scheme = judged.address.scheme
        target = self._services.get(judged.target or "")
        if judged.meant not in _CALLABLE or target is None:
            raise Refused(_WHY_NOT[judged.meant])
        if judged.holders:
            raise Refused(f"{judged.address.host} is the name of {' and '.join(judged.holders[:3])} alike")
        if is_database(target):
            raise Refused(f"{target.name} is a database or a broker, whose clients use names that it gives them")
        if scheme and scheme not in _OPEN_SCHEMES | TLS_SCHEMES:
            raise Refused(f"it is not known how {scheme}:// uses a name")
        if not self._registered(target):
            raise Refused(f"it cannot be registered: {self._names.of(target.name).why}")
        if len(self._name(target)) > MAX_NAME_LENGTH:
            raise Refused(f"its name with the zone would have more than {MAX_NAME_LENGTH} characters")
        return target

    def _right_port(self, judged: Judged, target: ComposeService) -> int:
        """Return the port to write. Raises Refused when the file does not show which port is right."""
        name, listens, port = target.name, judged.listens, judged.address.port
        if port is None:
            raise Refused("it has no port beside it, so that its port is elsewhere")
        if judged.code == "unproven-port":
            raise Refused(f"nothing shows whether {name} listens on {port}, so that its port stays")
        if len(listens) > 1:
            ports = ", ".join(str(p) for p in listens[:-1]) + f" and {listens[-1]}"
            raise Refused(f"{name} listens on {ports}, and a name leads only to an address")
        if not listens or judged.right is None:
            raise Refused(f"the file does not say on which port {name} listens")
        [own] = listens
        if judged.code == "doubtful-port" or (port != own and name in self._in_doubt):
            raise Refused(f"by its ports {name} listens on {own}, but its health check uses another port")
        if judged.right == port != own:
            raise Refused(f"{name} is registered under {own}, and {port} is another of its ports")
        if judged.right != own or (judged.meant is Meant.OTHER_SPELLING and port != own and not judged.address.is_http):
            raise Refused(f"{name} listens on {own} over TCP, and it is not certain that this is meant")
        registered = self._agents.ports.get(self._registered(target), own)
        if registered != own and (registered, own) not in [pair for entry in target.ports for pair in entry.pairs()]:
            raise Refused(f"{name} is registered under {registered}, but listens on {own}")
        return registered

    def _name(self, target: ComposeService) -> str:
        # Written with '-': many clients reject '_' in a host name (RFC 1123), and our DNS treats both alike.
        return f"{label_of(self._registered(target))}.{self._agents.zone}"

    def _registered(self, target: ComposeService) -> str:
        """Return the name of a service in the registry: the one that its agent has, else the one that it would get."""
        return self._agents.names.get(target.name) or self._names.of(target.name).name or ""


def _needs_nothing(judged: Judged) -> bool:
    """Return whether an address is right and stays: a discovered one, or the container's own on its own port."""
    if judged.is_discovered:
        return judged.code not in _WRONG_PORT
    return judged.meant is Meant.ITSELF and not judged.code and not judged.identity
