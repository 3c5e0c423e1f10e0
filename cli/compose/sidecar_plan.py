"""Decides which services of a compose file get a sidecar, and derives its settings from ports and health checks.

Pure. A service that cannot have a sidecar is left out with the reason; a doubtful one gets it, with a remark.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from cli.compose.agent_options import hosts_of
from cli.compose.audit import TOLERATED
from cli.compose.databases import is_database
from cli.compose.errors import ComposeError, Place
from cli.compose.jobs import Jobs
from cli.compose.model import ComposeService, Healthcheck, Project
from cli.compose.own_port import NO_PORT, OwnPort, listed, undeclared_port
from cli.compose.ports import Port
from cli.compose.registered_names import RegisteredNames
from cli.compose.sidecars import HOST_AGENT, LABEL, NAME_LABEL, Options, Recipe, SidecarSpec
from cli.terminal import printable
from registry_core.domain.names import check_host, label_of
from registry_core.domain.registration import DEFAULT_RULES, check_health_endpoint
from registry_core.errors import ValidationError

# Modes whose published ports are on the host.
_ON_THE_HOST: Final = frozenset({"host", "bridge", "default"})
_TCP_ASKED: Final = re.compile(r"(?:^|[\s/;&|(])(?:nc|ncat|netcat|telnet)\s|/dev/tcp/")


class Remark(msgspec.Struct, frozen=True, order=True):
    """A remark on one service, and its place in the file."""

    place: Place
    service: str
    text: str

    def __str__(self) -> str:
        where = f" (line {self.place.line})" if self.place.line else ""
        return printable(f"{self.service}: {self.text}{where}")


class Planning(msgspec.Struct, frozen=True):
    """The sidecars, the services that are left out, and the doubts."""

    sidecars: tuple[SidecarSpec, ...]
    left_out: tuple[Remark, ...]
    notes: tuple[Remark, ...]


class _LeftOut(Exception):
    """Raised when a service gets no sidecar; its text is the reason."""


def planned(project: Project, options: Options, wanted: Collection[str] = (), *, databases: bool = True) -> Planning:
    """Return the plan for the services named in `wanted`, or for all of them when it is empty.

    Databases and brokers are checked by tcp; without `databases` they are left out, unless `wanted` names them. A
    service that is probably a job is left out unless `wanted` names it, and one that is certainly a job in any case.
    Raises ComposeError for an unknown name, and for a project that Compose would refuse as a whole.
    """
    for problem in project.problems:
        if problem.code not in TOLERATED:
            raise problem
    for name in wanted:
        if name not in project.services:
            raise ComposeError(f"it has no service {name!r}", code="no-service", place=Place(project.files[0]))
    sidecars: list[SidecarSpec] = []
    left_out: list[Remark] = []
    notes: list[Remark] = []
    rules = _Rules(project, options)
    registries = {host for _, host in hosts_of(options.registry)}
    for service in project.services.values():
        named = service.name in wanted
        if LABEL in service.labels or (wanted and not named):
            continue
        if not named and service.name in registries:
            notes.append(Remark(service.place, service.name, "it is the registry of the agents, and gets none"))
            continue
        doubts: list[str] = []
        try:
            rules.check(service, databases=databases or named, jobs=named)
            sidecars.append(_sidecar(service, rules, options, doubts))
        except _LeftOut as reason:
            left_out.append(Remark(service.place, service.name, str(reason)))
            continue
        notes += (Remark(service.place, service.name, doubt) for doubt in doubts)
    return Planning(tuple(sidecars), tuple(left_out), tuple(notes))


class _Rules:
    """What the rest of the project means for one service: the names in use, the jobs, and shared images."""

    def __init__(self, project: Project, options: Options) -> None:
        self._file = project.files[0]
        self._taken = set(project.services)
        self._spelled: dict[str, str] = {}
        self._jobs = Jobs(project)
        self.names = RegisteredNames(project)
        is_of_the_host = options.recipe is Recipe.HOST
        self._agent = self._free(["", "-of-the-host"], HOST_AGENT) if is_of_the_host else ""
        self._taken.add(HOST_AGENT)

    def check(self, service: ComposeService, *, databases: bool, jobs: bool) -> None:
        """Raise _LeftOut when a service cannot be registered, or should not be."""
        if service.empty:
            raise _LeftOut("it is empty")
        if service.place.file != self._file:
            raise _LeftOut(f"it is defined in {service.place.file}, which is not changed: name that file instead")
        registered = self.names.of(service.name)
        if registered.name is None:
            raise _LeftOut(registered.why)
        twin = self._spelled.setdefault(label_of(registered.name), service.name)
        if twin != service.name:
            raise _LeftOut(f"in DNS it has the same name as {twin!r} ('_' is '-' there), which came first")
        job = self._jobs.why(service) if jobs else self._jobs.why_likely(service)
        if job is not None:
            raise _LeftOut(job)
        if is_database(service) and not databases:
            raise _LeftOut("it is a database or a broker (--no-databases)")

    def agent_of(self, service: ComposeService) -> str:
        """Return the name of a service's agent: one that no service in the file has."""
        return self._agent or self._free(["-agent", "-vertice-agent"], service.name)

    def _free(self, endings: list[str], stem: str) -> str:
        for ending in itertools.chain(endings, (f"-vertice-agent-{n}" for n in range(2, 1000))):
            name = f"{stem}{ending}"
            if name not in self._taken:
                self._taken.add(name)
                return name
        raise _LeftOut("every name for its agent is taken")


def _sidecar(service: ComposeService, rules: _Rules, options: Options, doubts: list[str]) -> SidecarSpec:
    recipe = options.recipe
    _check_network(service, recipe)
    _check_replicas(service, recipe, doubts)
    registered = rules.names.of(service.name)
    name = registered.name or service.name
    if name != service.name and NAME_LABEL not in service.labels:
        doubts.append(f"it is registered as {name}: {registered.why} (label {NAME_LABEL}: another name)")
    elif name != service.name:
        doubts.append(f"it is registered as {name}: {registered.why}")
    check = service.healthcheck if service.healthcheck is not None and not service.healthcheck.disabled else None
    if check is not None and check.problem is not None:
        doubts.append(check.problem)
    port = _port(service, check, doubts)
    protocol, how = _protocol(service, check, doubts)
    declared = (number for entry in (*service.ports, *service.expose) for number in entry.targets[:1000])
    listens_on = tuple(dict.fromkeys((*declared, port.number)))
    if recipe is Recipe.HOST and service.network_mode != "host":
        port, host = _published(service, port.number), options.host_address
    else:
        host = options.host_address if recipe is Recipe.HOST else _host(service)
    if not port.follows:
        doubts.append(f"its port is written with variables; {port.number} is what they are now")
    if port.number < DEFAULT_RULES.min_port and not options.registry_image:
        doubts.append(
            f"it listens on {port.number}, which the registry accepts only with REGISTRY_MIN_PORT={port.number}"
        )
    dns = recipe is not Recipe.BESIDE
    if dns and "dns" in service.places:
        doubts.append("it has its own `dns`, which stays: its lookups do not go to the agent")
        dns = False
    elif dns and recipe is Recipe.NETNS and 53 in listens_on:
        doubts.append("it listens on port 53 itself: its lookups do not go to the agent")
        dns = False
    if options.podman and recipe is Recipe.NETNS and "sysctls" in service.places:
        doubts.append("it has its own `sysctls`, which stay: set net.ipv4.ip_unprivileged_port_start to 0 there")
    path, written_path = _path(check, doubts) if how == "http" else ("/health", "")
    return SidecarSpec(
        service.name,
        rules.agent_of(service),
        host,
        port.number,
        path,
        protocol,
        how,
        tuple(a.network for a in service.networks if a.network != "default" or len(service.networks) > 1),
        service.written_profiles or service.profiles,
        listens_on,
        dns and service.network_mode != "host",
        "sysctls" not in service.places,
        name=name,
        written_port=port.written,
        written_path=written_path,
    )


def _check_network(service: ComposeService, recipe: Recipe) -> None:
    mode = service.network_mode
    if mode is None and not service.networks:
        raise _LeftOut("it has no container: a provider runs it")
    if mode is None or (mode in _ON_THE_HOST and recipe is Recipe.HOST):
        return
    if mode == "none":
        raise _LeftOut("it has no network (network_mode: none)")
    if mode == "host":
        raise _LeftOut("it is in the host's network (network_mode: host): use recipe `host`")
    if mode in _ON_THE_HOST:
        raise _LeftOut(f"it is in Docker's bridge, where no name resolves (network_mode: {mode}): use recipe `host`")
    if not mode.startswith(("service:", "container:")):
        raise _LeftOut(f"an agent cannot join its network (network_mode: {mode}): name that in `networks` instead")
    raise _LeftOut(f"it uses the network of another container (network_mode: {mode})")


def _check_replicas(service: ComposeService, recipe: Recipe, doubts: list[str]) -> None:
    written = service.replicas
    if written is None or written == "1":
        return
    if not re.fullmatch(r"\d{1,6}", written, re.ASCII):
        doubts.append(f"{written[:40]!r} is not a number of replicas; one is assumed")
    elif int(written) == 0:
        raise _LeftOut("it asks for 0 replicas")
    elif recipe is Recipe.BESIDE:
        doubts.append(f"its {written} replicas are registered as one instance with {written} addresses")
    else:
        raise _LeftOut(f"it asks for {written} replicas, but an agent in a compose file stands beside one container")


def _port(service: ComposeService, check: Healthcheck | None, doubts: list[str]) -> OwnPort:
    """Return the port of a service: of the declared ones the one that its health check asks, else the first."""
    entries = [entry for entry in service.ports if entry.protocol == "tcp"]
    entries = entries or [entry for entry in service.expose if entry.protocol == "tcp"]
    declared = {number: entry for entry in reversed(entries) for number in reversed(_few(entry))}
    asked = check.port if check is not None and check.url is not None else None
    if declared:
        first = entries[0].targets[0]
        if asked is not None and not is_database(service):
            if asked in declared:
                return listed(declared[asked], asked)
            doubts.append(f"its health check uses port {asked}, but it listens on {first}; {first} is used")
        return listed(entries[0], first)
    found = undeclared_port(service)
    if found is not None:
        doubts.append(f"its port, {found.number}, comes from {found.source}")
        return found
    if service.ports:
        raise _LeftOut("it has no TCP port")
    if "ports" in service.places or "expose" in service.places:
        raise _LeftOut("it has no readable port")
    asks = f", which asks {check.other}" if check is not None and check.other is not None else ""
    raise _LeftOut(f"{NO_PORT}{asks}" if not asks else NO_PORT.replace("its health check", f"its health check{asks},"))


def _few(entry: Port) -> range:
    return entry.targets[:1000]


def _protocol(service: ComposeService, check: Healthcheck | None, doubts: list[str]) -> tuple[str, str]:
    """Return the service's protocol and the kind of its check."""
    if is_database(service):
        return "tcp", "tcp"
    if check is None:
        doubts.append("it has no health check; its port is checked by tcp")
        return "http", "tcp"
    if check.url is not None:
        return ("https" if check.url.lower().startswith("https") else "http"), "http"
    if "grpc_health_probe" in check.text or "grpc-health-probe" in check.text:
        return "grpc", "tcp"
    if check.other is not None:
        doubts.append(f"its health check asks {check.other}, not itself; its port is checked by tcp")
        return "http", "tcp"
    if _TCP_ASKED.search(check.text):
        return "tcp", "tcp"
    doubts.append("its health check uses no URL; its port is checked by tcp")
    return "http", "tcp"


def _path(check: Healthcheck | None, doubts: list[str]) -> tuple[str, str]:
    """Return the path that a health check asks, and the same as written when it contains variables."""
    if check is None or check.path is None:
        return "/health", ""
    try:
        path = check_health_endpoint(check.path)
    except ValidationError as error:
        doubts.append(f"its health check uses {_shown(check.path)}: {error.message}; /health is used instead")
        return "/health", ""
    varies = "$" in check.written_path.replace("$$", "")
    if not check.written_path:
        doubts.append(f"the path of its health check is written with variables; {_shown(path)} is what they are now")
    return path, check.written_path if varies else ""


def _shown(path: str) -> str:
    # A query may hold a token.
    return repr(path.partition("?")[0][:60])


def _host(service: ComposeService) -> str:
    """Return the service's name on its networks: its container name when that is usable, else the service name.

    The container's name is returned as written: with its variables, which are filled in when the fleet starts.
    """
    name = service.container_name
    if name is not None and name == name.lower() and _is_host(name):
        return service.written_name if "$" in service.written_name else name
    if not _is_host(service.name):
        raise _LeftOut(f"{service.name!r} is not a host name, at which its agent could reach it")
    return service.name


def _is_host(name: str) -> bool:
    try:
        check_host(name)
    except ValidationError:
        return False
    return True


def _published(service: ComposeService, port: int) -> OwnPort:
    """Return the host port that maps to a container port. Raises _LeftOut when none certainly does."""
    shown: Mapping[int, tuple[int, Port]] = {
        target: (published, entry)
        for entry in reversed(service.ports)
        if entry.protocol == "tcp" and entry.host_ip in ("", "0.0.0.0", "::")  # noqa: S104 - it is read, not bound
        for published, target in entry.pairs()
    }
    if port not in shown:
        raise _LeftOut(f"it publishes no fixed host port for its port {port}")
    number, entry = shown[port]
    written = entry.written_published
    varies = "$" in (written or entry.raw)
    follows = not varies or (bool(written) and len(entry.targets) == 1)
    return OwnPort(number, written if varies and follows else str(number), "", follows)
