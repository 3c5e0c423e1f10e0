"""What the agent can be told: one table of settings, and the services that it stands beside.

They come from the environment, and from a TOML file for an agent with many services; the environment
wins. This file only reads and checks. Whether a port is too low, or a name is taken, is for the
registry to say.
"""

from __future__ import annotations

import enum
import ipaddress
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from agent.config_file import ConfigFile, ServiceTable, read_config_file
from dns.access import LOOPBACK
from registry_core.domain.names import host_port
from registry_core.domain.records import InstanceKey, Protocol, Registration
from registry_core.domain.registration import Rules, checked
from registry_core.domain.selection import WhenNonePass
from registry_core.errors import SettingsError, ValidationError
from registry_core.settings import (
    Listen,
    Setting,
    Values,
    choice,
    http_url,
    integer,
    items,
    json_object,
    listen,
    positive_seconds,
    read_settings,
    seconds,
    text,
)
from registry_core.telemetry.logs import LEVELS

MAX_CHECK_TIMEOUT_S: Final = 5.0
MAX_SERVICES: Final = 1000
# Whether a port below 1024 is welcome is the registry's matter; whether it is a port is not.
_ANY_PORT: Final = Rules(min_port=1)


class CheckKind(enum.StrEnum):
    """How an instance is asked whether it is well."""

    HTTP = "http"
    TCP = "tcp"
    NONE = "none"


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f"it is not a network ({error})") from None


def _one_registry_or_more(value: str) -> tuple[str, ...]:
    urls = items(http_url)(value)
    if not urls:
        raise ValueError("it names no registry")
    return urls


def _check_timeout(value: str) -> float:
    timeout_s = positive_seconds(value)
    if timeout_s > MAX_CHECK_TIMEOUT_S:
        raise ValueError(f"a check takes at most {MAX_CHECK_TIMEOUT_S:g} s")
    return timeout_s


def _zone_name(value: str) -> str:
    labels = value.strip().rstrip(".").lower().split(".")
    if not all(0 < len(label) <= 63 and label.replace("-", "").replace("_", "").isalnum() for label in labels):
        raise ValueError("it is not a domain name")
    return ".".join(labels)


def _check_kind(value: str) -> CheckKind:
    return CheckKind(choice(*CheckKind)(value))


def _when_none_pass(value: str) -> WhenNonePass:
    return WhenNonePass(choice(*WhenNonePass)(value))


# The service of a one-service agent. Its values are checked by the rules of the registry.
SERVICE_NAME: Final = Setting("SERVICE_NAME", text, "", "the service to register; none: only look up", "osint_service")
SERVICE_HOST: Final = Setting("SERVICE_HOST", text, "", "where others reach it; none: this host's name", "10.0.0.7")
SERVICE_PORT: Final = Setting("SERVICE_PORT", integer(1, 65535), 0, "its port; needed with a name", "8034")
SERVICE_HEALTH_ENDPOINT: Final = Setting("SERVICE_HEALTH_ENDPOINT", text, "/health", "the path of its check", "/health")
SERVICE_PROTOCOL: Final = Setting(
    "SERVICE_PROTOCOL", choice(*Protocol), "http", "http, https, grpc, tcp or udp", "grpc"
)
SERVICE_VERSION: Final = Setting("SERVICE_VERSION", text, "", "its version (SemVer 2)", "1.4.2")
SERVICE_WEIGHT: Final = Setting("SERVICE_WEIGHT", integer(1, 100), 1, "its share of requests, 1 to 100", "10")
SERVICE_TAGS: Final[Setting[tuple[str, ...]]] = Setting(
    "SERVICE_TAGS", items(text), (), "its tags, comma-separated", "canary,blue"
)
SERVICE_METADATA: Final[Setting[dict[str, Any]]] = Setting(
    "SERVICE_METADATA", json_object, {}, "what else is known of it (JSON)", '{"team": "osint"}'
)
SERVICE_ZONE: Final = Setting("SERVICE_ZONE", text, "", "the zone it runs in; none: AGENT_ZONE", "eu-west-1a")
SERVICE_INSTANCE_ID: Final = Setting("SERVICE_INSTANCE_ID", text, "", "its id; none: host:port", "osint-1")

# The registry, and the pace.
REGISTRY_URL: Final[Setting[tuple[str, ...]]] = Setting(
    "REGISTRY_URL",
    _one_registry_or_more,
    ("http://127.0.0.1:8888",),
    "the registry, or several, comma-separated, the nearest first",
    "http://registry-a:8888,http://registry-b:8888",
)
TOKEN: Final = Setting(
    "VERTICE_REGISTRY_TOKEN", text, "", "the shared token, sent as X-Registry-Token", "s3cret", secret=True
)
HEARTBEAT_INTERVAL: Final = Setting(
    "HEARTBEAT_INTERVAL", positive_seconds, 30.0, "how often the leases are renewed", "30"
)
INITIAL_WAIT_TIMEOUT: Final = Setting(
    "INITIAL_WAIT_TIMEOUT", seconds, 60.0, "how long a service's first good check is waited for", "60"
)

# The agent itself.
CONFIG: Final = Setting("AGENT_CONFIG", text, "", "a TOML file: settings, and many services", "/etc/vertice/agent.toml")
HTTP_LISTEN: Final = Setting(
    "AGENT_HTTP_LISTEN", listen, Listen("127.0.0.1", 8880), "where HTTP is answered", "127.0.0.1:8880"
)
DNS_LISTEN: Final = Setting("AGENT_DNS_LISTEN", listen, Listen("127.0.0.1", 8653), "where DNS is answered", ":53")
DNS_ZONE: Final = Setting("AGENT_DNS_ZONE", _zone_name, "vertice.internal", "the DNS zone", "vertice.internal")
DNS_ALLOW: Final[Setting[tuple[str, ...]]] = Setting(
    "AGENT_DNS_ALLOW",
    items(_network),
    LOOPBACK,
    "the networks that may ask over DNS, besides this machine's own loopback",
    "10.0.0.0/8,fd00::/8",
)
DNS_WORKERS: Final = Setting(
    "AGENT_DNS_WORKERS", integer(1, 64), 1, "processes that answer DNS over UDP, for more than one core", "2"
)
CHECK: Final = Setting(
    "AGENT_CHECK",
    _check_kind,
    CheckKind.HTTP,
    "http, tcp or none; http asks only who speaks it, the rest by tcp (udp not at all)",
    "tcp",
)
CHECK_INTERVAL: Final = Setting("AGENT_CHECK_INTERVAL", positive_seconds, 3.0, "how often a service is checked", "3")
CHECK_TIMEOUT: Final = Setting("AGENT_CHECK_TIMEOUT", _check_timeout, 2.0, "how long a check may take, at most 5", "2")
CHECK_RISE: Final = Setting("AGENT_CHECK_RISE", integer(1, 100), 2, "good checks in a row that make it passing", "2")
CHECK_FALL: Final = Setting("AGENT_CHECK_FALL", integer(1, 100), 2, "bad checks in a row that make it critical", "2")
ZONE: Final = Setting(
    "AGENT_ZONE", text, "", "the zone that this agent runs in: its instances come first", "eu-west-1a"
)
WHEN_NONE_PASS: Final = Setting(
    "AGENT_WHEN_NONE_PASS",
    _when_none_pass,
    WhenNonePass.ALL,
    "what a wholly failing service answers: all, none",
    "none",
)
DRAIN_WAIT: Final = Setting("AGENT_DRAIN_WAIT", seconds, 5.0, "how long others may still call a drained service", "5")
LOG_LEVEL: Final = Setting("AGENT_LOG_LEVEL", choice(*LEVELS), "info", ", ".join(LEVELS), "warning")

SERVICE_TABLE: Final[tuple[Setting[Any], ...]] = (
    SERVICE_NAME,
    SERVICE_HOST,
    SERVICE_PORT,
    SERVICE_HEALTH_ENDPOINT,
    SERVICE_PROTOCOL,
    SERVICE_VERSION,
    SERVICE_WEIGHT,
    SERVICE_TAGS,
    SERVICE_METADATA,
    SERVICE_ZONE,
    SERVICE_INSTANCE_ID,
)
AGENT_TABLE: Final[tuple[Setting[Any], ...]] = (
    REGISTRY_URL,
    TOKEN,
    HEARTBEAT_INTERVAL,
    INITIAL_WAIT_TIMEOUT,
    HTTP_LISTEN,
    DNS_LISTEN,
    DNS_ZONE,
    DNS_ALLOW,
    DNS_WORKERS,
    CHECK,
    CHECK_INTERVAL,
    CHECK_TIMEOUT,
    CHECK_RISE,
    CHECK_FALL,
    ZONE,
    WHEN_NONE_PASS,
    DRAIN_WAIT,
    LOG_LEVEL,
)
TABLE: Final = (*SERVICE_TABLE, *AGENT_TABLE, CONFIG)


class ServiceSpec(msgspec.Struct, frozen=True):
    """One service that the agent stands beside: what it registers as, and how it is checked."""

    claim: Registration
    check: CheckKind


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an agent is told. Durations in seconds."""

    registry_urls: tuple[str, ...] = REGISTRY_URL.default
    token: str = ""
    heartbeat_s: float = HEARTBEAT_INTERVAL.default
    initial_wait_s: float = INITIAL_WAIT_TIMEOUT.default
    http_listen: Listen = HTTP_LISTEN.default
    dns_listen: Listen = DNS_LISTEN.default
    dns_zone: str = DNS_ZONE.default
    dns_allow: tuple[str, ...] = DNS_ALLOW.default
    dns_workers: int = DNS_WORKERS.default
    check_interval_s: float = CHECK_INTERVAL.default
    check_timeout_s: float = CHECK_TIMEOUT.default
    check_rise: int = CHECK_RISE.default
    check_fall: int = CHECK_FALL.default
    zone: str = ""
    when_none_pass: WhenNonePass = WHEN_NONE_PASS.default
    drain_wait_s: float = DRAIN_WAIT.default
    log_level: str = LOG_LEVEL.default
    services: tuple[ServiceSpec, ...] = ()


def read_agent_settings(environment: Mapping[str, str], config: Path | None = None) -> AgentSettings:
    """Return the settings out of `environment` and of the file `config` (or AGENT_CONFIG).

    Raises SettingsError for the first that is wrong, for an unknown name, and for a file that
    cannot be read.
    """
    names = {setting.name for setting in TABLE}
    own = {name: value for name, value in environment.items() if value.strip() or name not in names}
    path = config if config is not None else Path(own[CONFIG.name]) if CONFIG.name in own else None
    file = read_config_file(path, [s.name for s in AGENT_TABLE]) if path is not None else ConfigFile()
    values = read_settings(TABLE, {**file.settings, **own}, prefixes=("AGENT_", "SERVICE_"))
    services = [_from_table(service, f"{path}: [[service]] {n}", values) for n, service in enumerate(file.services, 1)]
    given = [s.name for s in SERVICE_TABLE if s.name in own]
    if values[SERVICE_NAME]:
        services.append(_from_environment(values))
    elif given:
        raise SettingsError(f"{SERVICE_NAME.name}: it is missing, and {given[0]} is set (example: osint_service)")
    return AgentSettings(
        registry_urls=values[REGISTRY_URL],
        token=values[TOKEN],
        heartbeat_s=values[HEARTBEAT_INTERVAL],
        initial_wait_s=values[INITIAL_WAIT_TIMEOUT],
        http_listen=values[HTTP_LISTEN],
        dns_listen=values[DNS_LISTEN],
        dns_zone=values[DNS_ZONE],
        # Whoever is let in besides, the machine's own programs stay.
        dns_allow=tuple(dict.fromkeys((*LOOPBACK, *values[DNS_ALLOW]))),
        dns_workers=values[DNS_WORKERS],
        check_interval_s=values[CHECK_INTERVAL],
        check_timeout_s=values[CHECK_TIMEOUT],
        check_rise=values[CHECK_RISE],
        check_fall=values[CHECK_FALL],
        zone=values[ZONE],
        when_none_pass=values[WHEN_NONE_PASS],
        drain_wait_s=values[DRAIN_WAIT],
        log_level=values[LOG_LEVEL],
        services=_distinct(services),
    )


def _from_environment(values: Values) -> ServiceSpec:
    if not values[SERVICE_PORT]:
        raise SettingsError(f"{SERVICE_PORT.name}: {SERVICE_NAME.name} is set, so the port is needed (example: 8034)")
    table = ServiceTable(
        name=values[SERVICE_NAME],
        host=values[SERVICE_HOST],
        port=values[SERVICE_PORT],
        health_endpoint=values[SERVICE_HEALTH_ENDPOINT],
        protocol=values[SERVICE_PROTOCOL],
        version=values[SERVICE_VERSION],
        weight=values[SERVICE_WEIGHT],
        tags=values[SERVICE_TAGS],
        metadata=values[SERVICE_METADATA],
        zone=values[SERVICE_ZONE],
        instance_id=values[SERVICE_INSTANCE_ID],
    )
    try:
        return _spec(table, values)
    except ValidationError as error:
        top = (error.field or "").partition(".")[0]
        name = "SERVICE_NAME" if top == "service_name" else f"SERVICE_{top.upper()}"
        raise SettingsError(_line(name, error)) from None


def _from_table(table: ServiceTable, where: str, values: Values) -> ServiceSpec:
    try:
        return _spec(table, values)
    except ValidationError as error:
        field = "name" if error.field == "service_name" else error.field
        raise SettingsError(_line(f"{where} ({table.name}): {field}", error)) from None


def _line(name: str, error: ValidationError) -> str:
    shown = f"{error.provided!r} cannot be used: " if error.provided is not None else ""
    return f"{name}: {shown}{error.message} (example: {error.example})"


def _spec(table: ServiceTable, values: Values) -> ServiceSpec:
    try:
        protocol = Protocol(table.protocol)
    except ValueError:
        raise ValidationError(
            f"a protocol is one of {', '.join(Protocol)}", field="protocol", provided=table.protocol, example="http"
        ) from None
    claim = Registration(
        service_name=table.name,
        host=table.host or socket.gethostname(),
        port=table.port,
        instance_id=table.instance_id or "0",  # for the checks; replaced below
        health_endpoint=table.health_endpoint,
        protocol=protocol,
        version=table.version,
        weight=table.weight,
        tags=tuple(table.tags),
        metadata=table.metadata,
        zone=table.zone or values[ZONE],
    )
    claim = checked(claim, _ANY_PORT)
    if not table.instance_id:
        claim = msgspec.structs.replace(claim, instance_id=host_port(claim.host, claim.port))
    return ServiceSpec(claim, _kind(table.check, protocol, values))


def _kind(wanted: str, protocol: Protocol, values: Values) -> CheckKind:
    if wanted:
        try:
            return CheckKind(wanted)
        except ValueError:
            raise ValidationError(
                f"a check is one of {', '.join(CheckKind)}", field="check", provided=wanted, example="tcp"
            ) from None
    kind = values[CHECK]
    if kind is CheckKind.HTTP and protocol not in (Protocol.HTTP, Protocol.HTTPS):
        kind = CheckKind.TCP
    return CheckKind.NONE if kind is CheckKind.TCP and protocol is Protocol.UDP else kind


def _distinct(services: list[ServiceSpec]) -> tuple[ServiceSpec, ...]:
    if len(services) > MAX_SERVICES:
        raise SettingsError(f"{len(services)} services are configured, and one agent takes at most {MAX_SERVICES}")
    seen: dict[InstanceKey | str, str] = {}
    for spec in services:
        claim = spec.claim
        marks: tuple[InstanceKey | str, ...] = (claim.key, f"{claim.host}:{claim.port}")
        for mark in marks:
            if mark in seen:
                raise SettingsError(
                    f"{claim.service_name}: {claim.instance_id} is configured twice "
                    f"(the other is of {seen[mark]}); give each its own host:port and instance_id"
                )
            seen[mark] = claim.service_name
    return tuple(services)
