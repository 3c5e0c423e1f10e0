"""Turns discovered names back into the names of services, as Docker resolves them.

Pure: text in, text out. It undoes `rewrite`, so that a fleet works without agents. The names are those of the services;
which name or port stood there before is not recorded, and a port that was wrong is not made wrong again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cli.compose.audit import Audit, audit
from cli.compose.model import ComposeService, EnvEntry, Project
from cli.compose.value_edits import AddressChange, Piece, Refused, Rewriting, UnchangedAddress, edited, pieces_for
from cli.compose.verdicts import Judged
from registry_core.domain.host_port import host_port


def undone(text: str, project: Project, zones: Sequence[str]) -> Rewriting:
    """Return a compose file's text without discovered names; `project` is the parsed text, `zones` are the agents'.

    Raises NotEditable, and ComposeError when the audit refuses the project.
    """
    return edited(text, project, _Discovered(audit(project, zones)).pieces_of)


class _Discovered:
    """The discovered names in a fleet, and what Docker calls their services."""

    def __init__(self, found: Audit) -> None:
        self._services = found.project.services
        self._judged: dict[str, list[Judged]] = {}
        for judged in found.addresses:
            if judged.is_discovered:
                self._judged.setdefault(judged.service, []).append(judged)

    def pieces_of(self, service: ComposeService, unchanged: list[UnchangedAddress]) -> Iterator[tuple[EnvEntry, Piece]]:
        """Return the changes to a service's environment; the rest is added to `unchanged`."""
        entries = {entry.name: entry for entry in service.environment}
        for judged in self._judged.get(service.name, []):
            address = judged.address
            try:
                after = self._name(service, judged)
                change = AddressChange(address.place, service.name, address.variable, address.written, after)
                yield from pieces_for(entries, address, change)
            except Refused as reason:
                unchanged.append(
                    UnchangedAddress(address.place, service.name, address.variable, address.written, str(reason))
                )

    def _name(self, service: ComposeService, judged: Judged) -> str:
        """Return the address by Docker's name, with the container's port. Raises Refused when Docker knows none."""
        target, port = self._services.get(judged.target or ""), judged.address.port
        if target is None:
            raise Refused("no service of the file has that discovered name")
        if not service.network_names & target.network_names:
            raise Refused(f"{service.name} shares no network with {target.name}, so that Docker knows no name for it")
        if port is None or not judged.address.is_complete:
            return target.name
        named = any(port in entry.targets for entry in target.tcp_ports())
        inside = next((t for entry in target.ports for shown, t in entry.pairs() if shown == port), port)
        return host_port(target.name, port if named else inside)
