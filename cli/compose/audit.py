"""Audits a fleet: every hard-coded address, its target and whether it works, and other faults.

Pure: from a project to findings. It reads no file and prints nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import msgspec

from cli.compose.discovered_names import recipes_of, zones_of
from cli.compose.errors import ComposeError
from cli.compose.findings import AuditFinding, AuditSeverity
from cli.compose.fleet_names import Meant
from cli.compose.graph import Edge, Graph, components
from cli.compose.model import ComposeService, Project
from cli.compose.refusals import REFUSED
from cli.compose.registered_names import RegisteredNames
from cli.compose.sidecars import NAME_LABEL, without_agents
from cli.compose.verdicts import Judge, Judged
from registry_core.domain.names import label_of

# Faults that still allow an audit: a checkout often lacks env files and secrets.
TOLERATED = frozenset({"env-file", "variable-required", "variable", "port", "include", "unknown-key"})


class Audit(msgspec.Struct, frozen=True):
    """The findings about a fleet, in the order of the file."""

    project: Project
    addresses: tuple[Judged, ...]
    findings: tuple[AuditFinding, ...]
    graph: Graph

    def count(self, severity: AuditSeverity) -> int:
        """Return the number of findings of that severity."""
        return sum(f.severity is severity for f in self.findings)


def audit(project: Project, zones: Iterable[str] = ()) -> Audit:
    """Return the audit of a project. Raises ComposeError for a project that Compose would refuse.

    Names in `zones` are discovered ones; without any, those in the zones of the file's agents are.
    """
    given, recipes = tuple(zones) or zones_of(project), recipes_of(project)
    # A name that its agent tells is none that the file chose: the finding is the same with and without agents.
    chosen = {service.name for service in project.services.values() if NAME_LABEL in service.labels}
    project = without_agents(project)
    findings = list(_of_the_file(project.problems))
    judge = Judge(project, given, recipes)
    addresses: list[Judged] = []
    for service in project.services.values():
        own = judge.judged(service)
        addresses += (judged for judged, _ in own)
        findings += (finding for _, finding in own if finding is not None)
        findings += _unset(service, {judged.address.variable for judged, _ in own})
        findings += _of_one(service, judge)
    findings += _names(project, chosen)
    findings += _host_ports(project)
    findings += _dependencies(project)
    # The order of the file, each file on its own.
    files = {file: at for at, file in enumerate(project.files)}
    findings.sort(key=lambda f: (files.get(f.place.file, len(files)), f.place.file, f.place.line))
    return Audit(project, tuple(addresses), tuple(dict.fromkeys(findings)), graph_of(project, addresses))


def _of_the_file(problems: tuple[ComposeError, ...]) -> Iterator[AuditFinding]:
    for problem in problems:
        if problem.code not in TOLERATED | REFUSED:
            raise problem
        service, message = problem.service or "", problem.message
        yield AuditFinding(problem.code, service, problem.place, message, example=problem.hint)


def _unset(service: ComposeService, judged: set[str]) -> Iterator[AuditFinding]:
    for entry in service.environment:
        if entry.unset and entry.name not in judged and ("://" in entry.raw or entry.name.upper().endswith("_URL")):
            names = ", ".join(name for name in entry.unset if name)
            if names:
                yield AuditFinding("unset-variable", service.name, entry.place, f"{names} has no value", entry.name)


def _of_one(service: ComposeService, judge: Judge) -> Iterator[AuditFinding]:
    """Return the faults of a service on its own."""
    check = service.healthcheck
    listening = judge.listening[service.name]
    if check is None or check.disabled:
        why = "it has no health check" if check is None else "its health check is disabled"
        yield AuditFinding("no-healthcheck", service.name, service.place, why)
    elif check.port is not None and listening.declared and not listening.is_declared(check.port):
        right = next((d[0] for d in listening.declared), None)
        message = f"its health check uses port {check.port}, but it declares {listening.text}"
        yield AuditFinding("health-port", service.name, check.place, message, "healthcheck", str(right))
    replicas = service.replica_count
    if replicas > 1:
        for port in service.ports:
            if port.published and len(port.published) < replicas:
                message = f"it has {replicas} replicas and publishes {port.raw}"
                yield AuditFinding("replicas-host-port", service.name, port.place, message)


def _names(project: Project, chosen: Collection[str]) -> Iterator[AuditFinding]:
    names = RegisteredNames(project)
    spelled: dict[str, ComposeService] = {}
    containers: dict[str, ComposeService] = {}
    for service in project.services.values():
        registered = names.of(service.name)
        if registered.name is None:
            yield AuditFinding("bad-name", service.name, service.place, registered.why)
        elif registered.name != service.name and service.name not in chosen:
            message = f"{registered.why}; `inject` registers it as {registered.name}"
            yield AuditFinding("mapped-name", service.name, service.place, message, right=registered.name)
        twin = spelled.setdefault(label_of(registered.name or service.name), service)
        if twin is not service:
            message = f"in DNS it has the same name as {twin.name} ({twin.place})"
            yield AuditFinding("dns-clash", service.name, service.place, message, target=twin.name)
        if service.container_name is not None:
            twin = containers.setdefault(service.container_name, service)
            if twin is not service:
                place = service.places.get("container_name", service.place)
                message = f"its container is called {service.container_name}, like that of {twin.name}"
                yield AuditFinding("container-name-twice", service.name, place, message, target=twin.name)


def _host_ports(project: Project) -> Iterator[AuditFinding]:
    """Return the services that publish the same host port as another, on the same address or on all addresses."""
    taken: dict[tuple[str, int], dict[str, ComposeService]] = {}
    for service in project.services.values():
        for port in service.ports:
            # `3000-3005:80` takes any one of six, not known beforehand.
            for published, _ in port.pairs():
                ip = "" if port.host_ip in ("0.0.0.0", "::") else port.host_ip  # noqa: S104 - compared
                held = taken.setdefault((port.protocol, published), {})
                holder = held.get(ip) or held.get("") or (next(iter(held.values()), None) if not ip else None)
                if holder is not None and holder is not service:
                    apart = bool(service.profiles and holder.profiles) and not (
                        set(service.profiles) & set(holder.profiles)
                    )
                    message = f"it publishes port {published} of the host, and so does {holder.name}"
                    yield AuditFinding(
                        "shared-host-port", service.name, port.place, message, target=holder.name, lighter=apart
                    )
                held.setdefault(ip, service)


def _dependencies(project: Project) -> Iterator[AuditFinding]:
    needs: dict[str, list[str]] = {}
    for service in project.services.values():
        needs[service.name] = []
        for dependency in service.depends_on:
            if dependency.name in project.services:
                needs[service.name].append(dependency.name)
            elif dependency.required:
                message = f"it depends on {dependency.name}, which does not exist"
                yield AuditFinding("depends-missing", service.name, dependency.place, message, target=dependency.name)
    for group in components(needs):
        if len(group) > 1 or group[0] in needs[group[0]]:
            first = project.services[group[0]]
            message = f"these wait for each other: {', '.join(group[:10])}"
            yield AuditFinding("depends-cycle", first.name, first.places.get("depends_on", first.place), message)


def graph_of(project: Project, addresses: list[Judged]) -> Graph:
    """Return the dependencies: by addresses that are looked up, even with wrong ports, and by `depends_on`."""
    via: dict[tuple[str, str], list[str]] = {}
    outside: list[tuple[str, str]] = []
    for judged in addresses:
        if judged.identity:
            continue
        if judged.target is not None and judged.meant is not Meant.ITSELF:
            via.setdefault((judged.service, judged.target), []).append(judged.address.variable)
        elif judged.meant is not Meant.ITSELF:
            outside.append((judged.service, judged.address.host))
    waits = {(s.name, d.name) for s in project.services.values() for d in s.depends_on if d.name in project.services}
    order = {name: at for at, name in enumerate(project.services)}
    pairs = sorted({*via, *waits}, key=lambda pair: (order[pair[0]], order[pair[1]]))
    edges = tuple(Edge(a, b, tuple(dict.fromkeys(via.get((a, b), ()))), (a, b) in waits) for a, b in pairs)
    return Graph(tuple(project.services), edges, tuple(dict.fromkeys(outside)))
