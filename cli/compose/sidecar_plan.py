"""Decides which services of a compose file get a sidecar, and derives its settings from ports and health checks.

Pure. A service that cannot have a sidecar is left out with the reason; a doubtful one gets it, with a remark.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from cli.compose.audit import TOLERATED
from cli.compose.errors import ComposeError, Place
from cli.compose.model import ComposeService, Healthcheck, Project
from cli.compose.ports import Port, is_port
from cli.compose.sidecars import HOST_AGENT, LABEL, Options, Recipe, SidecarSpec
from cli.terminal import printable
from registry_core.domain.names import check_host, check_service_name, label_of
from registry_core.domain.registration import DEFAULT_RULES, check_health_endpoint
from registry_core.errors import ValidationError

# Stores and brokers: they have their own discovery or a single address, and no HTTP health check.
DATABASES: Final = frozenset(
    [
        "aerospike",
        "cassandra",
        "clickhouse",
        "clickhouse-server",
        "cockroach",
        "cockroachdb",
        "consul",
        "couchbase",
        "couchdb",
        "cp-kafka",
        "cp-server",
        "cp-zookeeper",
        "db2",
        "dragonfly",
        "elasticsearch",
        "etcd",
        "eventstore",
        "influxdb",
        "kafka",
        "kafka-native",
        "keydb",
        "mariadb",
        "mariadb-galera",
        "memcached",
        "milvus",
        "mongo",
        "mongodb",
        "mongodb-community-server",
        "mosquitto",
        "mssql",
        "mssql-server",
        "mysql",
        "mysql-server",
        "nats",
        "neo4j",
        "opensearch",
        "oracle",
        "postgis",
        "postgres",
        "postgresql",
        "pulsar",
        "qdrant",
        "questdb",
        "rabbitmq",
        "redis",
        "redis-sentinel",
        "redis-stack",
        "redis-stack-server",
        "redpanda",
        "scylla",
        "scylladb",
        "server",
        "surrealdb",
        "tarantool",
        "timescaledb",
        "timescaledb-ha",
        "valkey",
        "victoria-metrics",
        "weaviate",
        "zookeeper",
    ]
)
_ASKED_BY: Final = re.compile(
    r"\b(?:pg_isready|redis-cli|valkey-cli|mysqladmin|mariadb-admin|mongosh?|cqlsh|rabbitmqctl|rabbitmq-diagnostics"
    r"|kafka-[a-z-]+(?:\.sh)?|etcdctl|cypher-shell|zkServer\.sh|healthcheck\.sh)\b"
)
_OUTSIDE: Final = ("none", "host", "bridge")
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

    Databases and brokers are checked by tcp; without `databases` they are left out, unless `wanted` names them.
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
    names = _TakenNames(project)
    for service in project.services.values():
        if LABEL in service.labels or (wanted and service.name not in wanted):
            continue
        doubts: list[str] = []
        try:
            names.check(service, databases=databases or service.name in wanted)
            sidecars.append(_sidecar(service, names, options, doubts))
        except _LeftOut as reason:
            left_out.append(Remark(service.place, service.name, str(reason)))
            continue
        notes += (Remark(service.place, service.name, doubt) for doubt in doubts)
    return Planning(tuple(sidecars), tuple(left_out), tuple(notes))


class _TakenNames:
    """The names in use: service names in DNS, and service names in the file."""

    def __init__(self, project: Project) -> None:
        self._file = project.files[0]
        self._taken = {*project.services, HOST_AGENT}
        self._spelled: dict[str, str] = {}

    def check(self, service: ComposeService, *, databases: bool) -> None:
        """Raise _LeftOut when a service cannot be registered under its name."""
        if service.empty:
            raise _LeftOut("it is empty")
        if service.place.file != self._file:
            raise _LeftOut(f"it is defined in {service.place.file}, which is not changed: name that file instead")
        try:
            check_service_name(service.name)
        except ValidationError as error:
            raise _LeftOut(error.message) from None
        twin = self._spelled.setdefault(label_of(service.name), service.name)
        if twin != service.name:
            raise _LeftOut(f"in DNS it has the same name as {twin!r} ('_' is '-' there), which came first")
        if is_database(service) and not databases:
            raise _LeftOut("it is a database or a broker (--no-databases)")

    def agent_of(self, service: ComposeService) -> str:
        """Return a name for the service's agent that no service in the file has."""
        for ending in itertools.chain(("agent", "vertice-agent"), (f"vertice-agent-{n}" for n in range(2, 1000))):
            name = f"{service.name}-{ending}"
            if name not in self._taken:
                self._taken.add(name)
                return name
        raise _LeftOut("every name for its agent is taken")


def _sidecar(service: ComposeService, names: _TakenNames, options: Options, doubts: list[str]) -> SidecarSpec:
    recipe = options.recipe
    _check_network(service, recipe)
    _check_replicas(service, recipe, doubts)
    check = service.healthcheck if service.healthcheck is not None and not service.healthcheck.disabled else None
    if check is not None and check.problem is not None:
        doubts.append(check.problem)
    port = _port(service, check, doubts)
    protocol, how = _protocol(service, check, doubts)
    host = _host(service)
    listens_on = tuple(dict.fromkeys(number for entry in service.tcp_ports() for number in entry.targets[:1000]))
    if recipe is Recipe.HOST and service.network_mode != "host":
        port, host = _published(service, port), options.host_address
    elif recipe is Recipe.HOST:
        host = options.host_address
    if port < DEFAULT_RULES.min_port:
        doubts.append(f"it listens on {port}, which the registry accepts only with REGISTRY_MIN_PORT={port}")
    dns = recipe is not Recipe.BESIDE
    if dns and "dns" in service.places:
        doubts.append("it has its own `dns`, which stays: its lookups do not go to the agent")
        dns = False
    elif dns and recipe is Recipe.NETNS and 53 in listens_on:
        doubts.append("it listens on port 53 itself: its lookups do not go to the agent")
        dns = False
    if options.podman and recipe is Recipe.NETNS and "sysctls" in service.places:
        doubts.append("it has its own `sysctls`, which stay: set net.ipv4.ip_unprivileged_port_start to 0 there")
    return SidecarSpec(
        service.name,
        names.agent_of(service),
        host,
        port,
        _path(check, doubts) if how == "http" else "/health",
        protocol,
        how,
        tuple(a.network for a in service.networks if a.network != "default" or len(service.networks) > 1),
        service.profiles,
        listens_on,
        dns and service.network_mode != "host",
        "sysctls" not in service.places,
    )


def _check_network(service: ComposeService, recipe: Recipe) -> None:
    mode = service.network_mode
    if mode is None or mode == "default" or (mode == "host" and recipe is Recipe.HOST):
        return
    if mode == "none":
        raise _LeftOut("it has no network (network_mode: none)")
    if mode == "host":
        raise _LeftOut("it is in the host's network (network_mode: host): use recipe `host`")
    if mode == "bridge" and recipe is Recipe.HOST:
        return
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


def is_database(service: ComposeService) -> bool:
    """Return whether a service is a store or a broker, judging by its image or its health check's program."""
    image = (service.image or "").partition("@")[0].rpartition("/")[2].partition(":")[0].lower()
    known = image in DATABASES and (image != "server" or "mssql" in (service.image or ""))
    return known or (service.healthcheck is not None and bool(_ASKED_BY.search(service.healthcheck.text)))


def _port(service: ComposeService, check: Healthcheck | None, doubts: list[str]) -> int:
    listed = [
        number for entry in (service.ports or service.expose) if entry.protocol == "tcp" for number in _few(entry)
    ]
    asked = check.port if check is not None and check.url is not None else None
    if listed:
        if asked in listed and asked is not None and not is_database(service):
            return asked
        if asked is not None and not is_database(service):
            doubts.append(f"its health check uses port {asked}, but it listens on {listed[0]}; {listed[0]} is used")
        return listed[0]
    exposed = [number for entry in service.expose if entry.protocol == "tcp" for number in _few(entry)]
    if exposed:
        return exposed[0]
    given = service.env("PORT")
    if given is not None and given.value is not None and given.value.isdecimal() and is_port(int(given.value)):
        doubts.append(f"its port, {int(given.value)}, comes from its variable PORT")
        return int(given.value)
    if check is not None and check.port is not None and is_port(check.port):
        doubts.append(f"its port, {check.port}, comes from its health check")
        return check.port
    if service.ports:
        raise _LeftOut("it has no TCP port")
    if "ports" in service.places or "expose" in service.places:
        raise _LeftOut("it has no readable port")
    raise _LeftOut("it has no port in `ports`, `expose`, PORT or its health check")


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
    if _TCP_ASKED.search(check.text):
        return "tcp", "tcp"
    doubts.append("its health check uses no URL; its port is checked by tcp")
    return "http", "tcp"


def _path(check: Healthcheck | None, doubts: list[str]) -> str:
    if check is None or check.path is None:
        return "/health"
    try:
        return check_health_endpoint(check.path)
    except ValidationError as error:
        doubts.append(f"its health check uses {check.path[:60]!r}: {error.message}; /health is used instead")
        return "/health"


def _host(service: ComposeService) -> str:
    """Return the service's name on its networks: its container name when that is usable, else the service name."""
    name = service.container_name
    if name is not None and name == name.lower():
        try:
            return check_host(name)
        except ValidationError:
            pass
    return service.name


def _published(service: ComposeService, port: int) -> int:
    """Return the host port that maps to a container port. Raises _LeftOut when none certainly does."""
    shown: Mapping[int, int] = {
        target: published
        for entry in reversed(service.ports)
        if entry.protocol == "tcp" and entry.host_ip in ("", "0.0.0.0", "::")  # noqa: S104 - it is read, not bound
        for published, target in entry.pairs()
    }
    if port not in shown:
        raise _LeftOut(f"it publishes no fixed host port for its port {port}")
    return shown[port]
