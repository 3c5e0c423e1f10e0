"""Turns a compose project into a plan: which services can be started, and what is wrong with the others.

It uses names, ports, replicas, health checks and environments, and ignores everything else. It starts
nothing. A mistake disables the service that has it, never the whole file.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from cli.compose.fleet_names import other_names
from cli.compose.model import ComposeService, Project
from cli.compose.reader import project_of, read_project
from cli.compose.sidecars import without_agents
from cli.dev.addresses import EnvAddress, TcpPorts, addresses_in, judged
from cli.dev.plan import MAX_INSTANCES, MAX_REPLICAS, Plan, PlanFinding, PlannedService, Weight
from registry_core.domain.host_port import host_port
from registry_core.domain.names import check_service_name, label_of
from registry_core.domain.registration import check_health_endpoint
from registry_core.errors import ValidationError


class _Entry(msgspec.Struct, frozen=True):
    service: ComposeService
    listening: TcpPorts
    problems: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def line(self) -> int:
        return self.service.place.line

    @property
    def main(self) -> int | None:
        """The port to register: the first container port.

        Other services on a compose network reach the container port, never the published one. By
        convention the first port is the service itself; metrics and consoles follow.
        """
        return self.listening.container[0] if self.listening.container else None


def read_plan(path: Path) -> Plan:
    """Return the plan for the compose file at `path`. Raises ComposeError."""
    return plan_of(read_project([path]))


def plan_of_bytes(raw: bytes) -> Plan:
    """Return the plan for a compose file's bytes, without reading other files. Raises ComposeError."""
    return plan_of(project_of([("", raw)]))


def plan_of(project: Project) -> Plan:
    """Return the plan for a project. Its agents do not count as services."""
    project = without_agents(project)
    findings = list(_told(project))
    entries = []
    for service in project.services.values():
        if service.empty:
            reason = "it is empty, so it has no port"
            findings.append(PlanFinding(Weight.UNUSABLE, service.name, reason, service.place.line))
            continue
        problems = [p.message for p in project.problems if p.service == service.name and p.code == "port"]
        entries.append(_Entry(service, listening_of(service), tuple(problems)))
    planned = _planned(entries, findings)
    findings += _shared_host_ports(entries)
    findings += _wrong_addresses(entries)
    return Plan(len(project.services), tuple(planned), tuple(dict.fromkeys(findings)))


def _told(project: Project) -> list[PlanFinding]:
    """Return the reader's findings, except those on a service's ports, which come with the service."""
    findings = []
    for problem in project.problems:
        line = problem.place.line
        if problem.code == "duplicate-key" and problem.field == f"services.{problem.service}":
            reason = "it is in the file twice; the last one counts"
            findings.append(PlanFinding(Weight.UNUSABLE, str(problem.service), reason, line))
        elif problem.code == "include":
            findings.append(PlanFinding(Weight.UNUSABLE, "include", problem.message, line))
        elif problem.code != "port":
            findings.append(
                PlanFinding(Weight.DOUBTFUL, problem.service or problem.field or "it", problem.message, line)
            )
    return findings


def listening_of(service: ComposeService) -> TcpPorts:
    """Return the TCP ports of a service: those of `ports`, else those of `expose`."""
    given = [p for p in service.ports or service.expose if p.protocol == "tcp"]
    container = [target for p in given for target in p.targets]
    shown = [host_port(p.host_ip, published) for p in given for published, _ in p.pairs()]
    return TcpPorts(tuple(dict.fromkeys(container)), tuple(dict.fromkeys(shown)))


def _planned(entries: list[_Entry], findings: list[PlanFinding]) -> list[PlannedService]:
    planned: list[PlannedService] = []
    spelled: dict[str, str] = {}
    room = MAX_INSTANCES
    for entry in entries:
        unusable = _why_unusable(entry, spelled)
        doubts: list[str] = []
        replicas = _replicas(entry.service.replicas, doubts)
        if unusable is None and replicas > room:
            unusable = f"it would be more than {MAX_INSTANCES} stand-ins in all"
        if unusable is None and replicas == 0:
            unusable = "it asks for 0 replicas"
        port = entry.main
        if unusable is not None or port is None:
            findings.append(PlanFinding(Weight.UNUSABLE, entry.name, unusable or "no port", entry.line))
            continue
        health_endpoint = _health(entry, doubts)
        doubts += entry.problems
        findings += (PlanFinding(Weight.DOUBTFUL, entry.name, doubt, entry.line) for doubt in doubts)
        spelled[label_of(entry.name)] = entry.name
        room -= replicas
        planned.append(PlannedService(entry.name, port, health_endpoint, replicas))
    return planned


def _why_unusable(entry: _Entry, spelled: dict[str, str]) -> str | None:
    try:
        check_service_name(entry.name)
    except ValidationError as error:
        return error.message
    twin = spelled.get(label_of(entry.name))
    if twin is not None:
        return f"in DNS it has the same name as {twin!r} ('_' is '-' there), which came first"
    if entry.main is not None:
        return None
    if entry.problems:
        return "; ".join(entry.problems)
    if entry.service.ports:
        return "it has no TCP port"
    return "it has no port in `ports` or `expose`"


def _replicas(given: str | None, doubts: list[str]) -> int:
    if given is None:
        return 1
    if not re.fullmatch(r"\d{1,6}", given, re.ASCII):
        doubts.append(f"{given[:40]!r} is not a number of replicas; one is started")
        return 1
    if int(given) > MAX_REPLICAS:
        doubts.append(f"{given} replicas are too many for one machine; {MAX_REPLICAS} are started")
    return min(int(given), MAX_REPLICAS)


def _health(entry: _Entry, doubts: list[str]) -> str:
    """Return the path in the service's own health check, or `/health` when it has none."""
    check = entry.service.healthcheck
    if check is not None and check.problem is not None:
        doubts.append(check.problem)
    if check is None or check.path is None:
        return "/health"
    if check.port is not None and check.port not in entry.listening.container:
        doubts.append(f"its health check uses port {check.port}, but it listens on {entry.main}")
    try:
        return check_health_endpoint(check.path)
    except ValidationError as error:
        doubts.append(f"its health check uses {check.path[:60]!r}: {error.message}; /health is used instead")
        return "/health"


def _shared_host_ports(entries: list[_Entry]) -> list[PlanFinding]:
    first: dict[str, str] = {}
    findings = []
    for entry in entries:
        for port in entry.listening.published:
            holder = first.setdefault(port, entry.name)
            if holder != entry.name:
                shown = port.removeprefix(":")
                reason = (
                    f"it publishes port {shown} of the host, and so does {holder}; Docker can start only one of them"
                )
                findings.append(PlanFinding(Weight.DOUBTFUL, entry.name, reason, entry.line))
    return findings


def _wrong_addresses(entries: list[_Entry]) -> list[PlanFinding]:
    listening: dict[str, TcpPorts] = {}
    for entry in entries:
        listening[entry.name.lower()] = entry.listening
    for entry in entries:
        for name in (entry.name, *other_names(entry.service)):
            for spelling in (name.lower(), label_of(name)):
                listening.setdefault(spelling, entry.listening)
    found: dict[EnvAddress, list[str]] = {}
    for entry in entries:
        for address in dict.fromkeys(addresses_in(entry.service.environment)):
            found.setdefault(address, []).append(entry.name)
    return list(judged(found, listening))
