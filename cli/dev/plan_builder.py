"""Turns a compose project into a plan: which services can be started, and what is wrong with the others.

It uses names, ports, replicas, health checks, environments and images, and ignores everything else. It starts
nothing. A mistake disables the service that has it, never the whole file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from cli.compose import listening_ports
from cli.compose.fleet_names import container_names, other_names
from cli.compose.jobs import Jobs
from cli.compose.model import ComposeService, Project
from cli.compose.own_images import own_images
from cli.compose.own_port import NO_PORT, OwnPort, undeclared_port
from cli.compose.reader import NO_VARIABLES, project_of, read_project
from cli.compose.registered_names import RegisteredName, RegisteredNames
from cli.compose.sidecars import NAME_LABEL, without_agents
from cli.dev.addresses import EnvAddress, TcpPorts, addresses_in, judged
from cli.dev.called_ports import CalledPorts
from cli.dev.plan import MAX_INSTANCES, MAX_REPLICAS, Plan, PlanFinding, PlannedService, Weight
from registry_core.domain.host_port import host_port
from registry_core.domain.names import label_of
from registry_core.domain.registration import check_health_endpoint
from registry_core.errors import ValidationError


class _Entry(msgspec.Struct, frozen=True):
    service: ComposeService
    listening: TcpPorts
    problems: tuple[str, ...]
    registered: RegisteredName
    # The port of a service that declares none, and why it is a job.
    undeclared: OwnPort | None = None
    job: str | None = None

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def line(self) -> int:
        return self.service.place.line

    @property
    def main(self) -> int | None:
        """The port to register: the first container port, else the one that the service's image and variables tell.

        Other services on a compose network reach the container port, never the published one. By
        convention the first port is the service itself; metrics and consoles follow.
        """
        if self.listening.container:
            return self.listening.container[0]
        return None if self.undeclared is None or self.job is not None else self.undeclared.number


def read_plan(path: Path, environment: Mapping[str, str] = NO_VARIABLES) -> Plan:
    """Return the plan for the compose file at `path`, with the variables of `environment`. Raises ComposeError."""
    return plan_of(read_project([path], environment))


def plan_of_bytes(raw: bytes) -> Plan:
    """Return the plan for a compose file's bytes, without reading other files. Raises ComposeError."""
    return plan_of(project_of([("", raw)]))


def plan_of(project: Project) -> Plan:
    """Return the plan for a project. Its agents do not count as services."""
    project = without_agents(project)
    findings = list(_told(project))
    entries = []
    names, jobs = RegisteredNames(project), Jobs(project)
    called, own = CalledPorts(project), own_images(project)
    on_ports: dict[str | None, list[str]] = {}
    for problem in project.problems:
        if problem.code == "port":
            on_ports.setdefault(problem.service, []).append(problem.message)
    for service in project.services.values():
        if service.empty:
            reason = "it is empty, so it has no port"
            findings.append(PlanFinding(Weight.UNUSABLE, service.name, reason, service.place.line))
            continue
        problems = on_ports.get(service.name, [])
        known = listening_ports.listening_of(service, is_own_image=service.name in own)
        listening = msgspec.structs.replace(listening_of(service), known=known)
        undeclared = None
        if not listening.container and not problems:
            undeclared = undeclared_port(service) or called.of(service)
        job = None if undeclared is None else jobs.why_likely(service)
        entries.append(_Entry(service, listening, tuple(problems), names.of(service.name), undeclared, job))
    planned = _planned(entries, findings)
    findings += _shared_host_ports(entries)
    findings += _wrong_addresses(entries, project.name)
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
        name = entry.registered.name or entry.name
        findings += (PlanFinding(Weight.NOTED, entry.name, note, entry.line) for note in _notes(entry))
        health_endpoint = _health(entry, doubts)
        doubts += entry.problems
        findings += (PlanFinding(Weight.DOUBTFUL, entry.name, doubt, entry.line) for doubt in doubts)
        spelled[label_of(name)] = entry.name
        room -= replicas
        planned.append(PlannedService(name, port, health_endpoint, replicas))
    return planned


def _why_unusable(entry: _Entry, spelled: dict[str, str]) -> str | None:
    if entry.registered.name is None:
        return entry.registered.why
    twin = spelled.get(label_of(entry.registered.name))
    if twin is not None:
        return f"in DNS it has the same name as {twin!r} ('_' is '-' there), which came first"
    if entry.main is not None:
        return None
    if entry.problems:
        return "; ".join(entry.problems)
    if entry.job is not None:
        return entry.job
    if entry.service.ports:
        return "it has no TCP port"
    return NO_PORT


def _notes(entry: _Entry) -> Iterator[str]:
    """Return what is not as the file says it, and right all the same."""
    name = entry.registered.name
    if name != entry.name:
        choice = "" if NAME_LABEL in entry.service.labels else f" (label {NAME_LABEL}: another name)"
        yield f"it is registered as {name}: {entry.registered.why}{choice}"
    if entry.undeclared is not None:
        yield f"its port, {entry.undeclared.number}, comes from {entry.undeclared.source}"


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
    listening = entry.listening.container
    if check.port is not None and listening and check.port not in listening:
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


def _wrong_addresses(entries: list[_Entry], project: str) -> list[PlanFinding]:
    listening: dict[str, TcpPorts] = {}
    for entry in entries:
        listening[entry.name.lower()] = entry.listening
    for entry in entries:
        registered = entry.registered.name or entry.name
        for name in (entry.name, registered, *container_names(project, entry.service), *other_names(entry.service)):
            for spelling in (name.lower(), label_of(name)):
                listening.setdefault(spelling, entry.listening)
    found: dict[EnvAddress, list[str]] = {}
    for entry in entries:
        for address in dict.fromkeys(addresses_in(entry.service.environment)):
            found.setdefault(address, []).append(entry.name)
    return list(judged(found, listening))
