"""The table of the agent's settings, from which they are read, documented and checked."""

from __future__ import annotations

import re
from typing import Any, Final

from agent.checks.spec import CheckKind
from agent.registration.decisions import Timings
from agent.registries.addresses import source_text
from agent.settings.certificates import CERTIFICATE_SETTINGS
from agent.settings.checks import MAX_CHECK_TIMEOUT_S
from agent.settings.local_port import LOCAL_PORT_TABLE
from agent.settings.usage import USAGE
from dns.access import LOOPBACK
from dns.forward_rules import ForwardRules, read_rules
from dns.name_limits import MAX_LABEL, MAX_NAME
from dns.reverse import ReverseNames, read_reverse_names
from registry_core.domain.networks import network_of
from registry_core.domain.records import Protocol
from registry_core.domain.selection import WhenNonePass
from registry_core.security.client_settings import CLIENT_TLS_SETTINGS
from registry_core.security.registry_keys import REGISTRY_KEY_TABLE
from registry_core.settings import (
    Listen,
    RemovedSetting,
    Setting,
    choice,
    integer,
    items,
    json_object,
    listen,
    positive_seconds,
    seconds,
    switch,
    text,
)
from registry_core.telemetry.log_levels import AGENT_COMPONENTS, log_level_setting
from registry_core.telemetry.logs import AUTO, FORMATS, FORMATS_MEANING
from registry_core.telemetry.trace_settings import TRACE_SETTINGS

MOST_DRAIN_SRV_S: Final = 2.0
# What a name of 255 octets leaves behind the longest of ours: two labels and `_tcp`, with the octets of their lengths.
# The zone's own length octet and the root take two more.
MAX_ZONE_LENGTH: Final = MAX_NAME - 2 * (MAX_LABEL + 1) - len("._tcp") - 2
# At least one letter or digit: no label is only '-' or '_'.
_LABEL: Final = re.compile(rf"(?=.*[a-z0-9])[a-z0-9_-]{{1,{MAX_LABEL}}}", re.ASCII)


def _network(value: str) -> str:
    return str(network_of(value))


def _one_registry_or_more(value: str) -> tuple[str, ...]:
    urls = items(source_text)(value)
    if not urls:
        raise ValueError("it must name at least one registry")
    return urls


def _check_timeout(value: str) -> float:
    timeout_s = positive_seconds(value)
    if timeout_s > MAX_CHECK_TIMEOUT_S:
        raise ValueError(f"a check may take at most {MAX_CHECK_TIMEOUT_S:g} s")
    return timeout_s


def _drain_srv(value: str) -> float:
    shown_s = seconds(value)
    # The agent of the instance waits for AGENT_DRAIN_CONFIRM, 3 s by default, for all agents to be through with it.
    if shown_s > MOST_DRAIN_SRV_S:
        raise ValueError(f"others wait for it: it is at most {MOST_DRAIN_SRV_S:g} s")
    return shown_s


def _zone_name(value: str) -> str:
    labels = value.strip().rstrip(".").lower().split(".")
    if not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("it is not a domain name")
    zone = ".".join(labels)
    if len(zone) > MAX_ZONE_LENGTH:
        raise ValueError(
            f"it has {len(zone)} characters, and a zone has at most {MAX_ZONE_LENGTH}, so that the longest "
            "names fit in front of it (RFC 1035: a name has at most 255 octets)"
        )
    return zone


def _check_kind(value: str) -> CheckKind:
    return CheckKind(choice(*CheckKind)(value))


def _when_none_pass(value: str) -> WhenNonePass:
    return WhenNonePass(choice(*WhenNonePass)(value))


# The service of a one-service agent. Its values are checked by the registry's rules.
SERVICE_NAME: Final = Setting(
    "SERVICE_NAME", text, "", "the service to register; if unset, the agent only answers lookups", "osint_service"
)
SERVICE_HOST: Final = Setting(
    "SERVICE_HOST",
    text,
    "",
    "the host name or address at which others reach it; if unset, this host's name; loopback and link-local addresses "
    "are refused unless the registry is there too",
    "10.0.0.7",
)
SERVICE_PORT: Final = Setting("SERVICE_PORT", integer(1, 65535), 0, "its port; required with SERVICE_NAME", "8034")
SERVICE_HEALTH_ENDPOINT: Final = Setting(
    "SERVICE_HEALTH_ENDPOINT", text, "/health", "the path of its health check", "/health"
)
SERVICE_PROTOCOL: Final = Setting(
    "SERVICE_PROTOCOL", choice(*Protocol), "http", "its protocol: http, https, grpc, tcp or udp", "grpc"
)
SERVICE_VERSION: Final = Setting("SERVICE_VERSION", text, "", "its version (SemVer 2)", "1.4.2")
SERVICE_WEIGHT: Final = Setting("SERVICE_WEIGHT", integer(1, 100), 1, "its share of the requests, 1 to 100", "10")
SERVICE_TAGS: Final[Setting[tuple[str, ...]]] = Setting(
    "SERVICE_TAGS", items(text), (), "its tags, comma-separated", "canary,blue"
)
SERVICE_METADATA: Final[Setting[dict[str, Any]]] = Setting(
    "SERVICE_METADATA", json_object, {}, "more about it, as a JSON object", '{"team": "osint"}'
)
SERVICE_ZONE: Final = Setting("SERVICE_ZONE", text, "", "the zone it runs in; if unset, AGENT_ZONE", "eu-west-1a")
SERVICE_INSTANCE_ID: Final = Setting(
    "SERVICE_INSTANCE_ID",
    text,
    "",
    "the id of this instance; if unset, host:port, for a udp service host:port-udp",
    "osint-1",
)
# The check of that service; parsed by the same table as the file's [service.check].
CHECK_PATH: Final = Setting(
    "AGENT_CHECK_PATH", text, "", "http: the path; if unset, SERVICE_HEALTH_ENDPOINT", "/healthz"
)
CHECK_STATUS: Final = Setting(
    "AGENT_CHECK_STATUS", text, "", "http: the statuses that pass; if unset, 2xx", "200-204,301"
)
CHECK_BODY: Final = Setting("AGENT_CHECK_BODY", text, "", "http: a pattern that the body must match", "ok|ready")
CHECK_TLS_CA_FILE: Final = Setting(
    "AGENT_CHECK_TLS_CA_FILE",
    text,
    "",
    "http, grpc: the authorities (PEM) to trust; if unset, the certificate is not verified",
    "/etc/vertice/ca.pem",
)
CHECK_GRPC_SERVICE: Final = Setting(
    "AGENT_CHECK_GRPC_SERVICE",
    text,
    "",
    "grpc: the service to ask about; if unset, the whole server",
    "billing.v1.Invoices",
)
CHECK_COMMAND: Final = Setting(
    "AGENT_CHECK_COMMAND",
    text,
    "",
    "command: a program and its arguments; no shell is used",
    "/bin/check-billing --quick",
)
CHECK_TTL: Final = Setting(
    "AGENT_CHECK_TTL", text, "", "ttl: how long a report of the service is valid; if unset, 30 s", "30"
)

# The registry, and intervals.
REGISTRY_URL: Final[Setting[tuple[str, ...]]] = Setting(
    "REGISTRY_URL",
    _one_registry_or_more,
    ("http://127.0.0.1:8888",),
    "the registries, comma-separated, the nearest first: URLs, each with an optional #zone=NAME, or srv:NAME, over TLS "
    "srv+https:NAME",
    "http://registry-a:8888,http://registry-b:8888#zone=eu-1b,srv:_registry._tcp.example",
)
HEARTBEAT_INTERVAL: Final = Setting(
    "HEARTBEAT_INTERVAL",
    positive_seconds,
    30.0,
    "how often leases are renewed, unless the registry asks for a shorter interval",
    "30",
)
INITIAL_WAIT_TIMEOUT: Final = Setting(
    "INITIAL_WAIT_TIMEOUT", seconds, 60.0, "how long to wait for a service's first passing check", "60"
)

# The agent itself.
CONFIG: Final = Setting("AGENT_CONFIG", text, "", "a TOML file with settings and services", "/etc/vertice/agent.toml")
HTTP_LISTEN: Final = Setting(
    "AGENT_HTTP_LISTEN", listen, Listen("127.0.0.1", 8880), "the address and port for HTTP", "127.0.0.1:8880"
)
DNS_LISTEN: Final = Setting(
    "AGENT_DNS_LISTEN",
    listen,
    Listen("127.0.0.1", 8653),
    "the address and port for DNS, over UDP and TCP; `:53` means every address, of IPv4 and IPv6",
    ":53",
)
DNS_ZONE: Final = Setting(
    "AGENT_DNS_ZONE", _zone_name, "vertice.internal", "the DNS zone that this agent answers for", "vertice.internal"
)
DNS_ALLOW: Final[Setting[tuple[str, ...]]] = Setting(
    "AGENT_DNS_ALLOW",
    items(_network),
    LOOPBACK,
    "the networks that may ask over DNS, in addition to this machine's loopback",
    "10.0.0.0/8,fd00::/8",
)
FOLLOW_NAMESPACE: Final = Setting(
    "AGENT_FOLLOW_NAMESPACE",
    switch,
    False,
    "on: end, in order to be restarted, when the container whose network it shares was replaced",
    "on",
)
DNS_RATE_LIMIT: Final = Setting(
    "AGENT_DNS_RATE_LIMIT",
    integer(0, 1_000_000),
    1000,
    "identical answers per second over UDP to one network (/24, /56) beyond loopback; 0: no limit",
    "200",
)
DNS_FORWARD: Final = Setting(
    "AGENT_DNS_FORWARD",
    read_rules,
    ForwardRules(),
    "resolvers for other names: system (/etc/resolv.conf) or addresses; none: refuse them; nxdomain: deny them; "
    "suffix=address for one suffix",
    "10.0.0.2,10.0.0.3:5353,corp.example=10.1.0.2",
)
DNS_REVERSE: Final = Setting(
    "AGENT_DNS_REVERSE",
    read_reverse_names,
    ReverseNames(),
    "registered addresses whose reverse names lead to services: fallback (those without a name at the resolvers), all, "
    "none, or those in networks",
    "10.100.0.0/16,fd00::/8",
)
CHECK: Final = Setting(
    "AGENT_CHECK",
    _check_kind,
    CheckKind.HTTP,
    "http, tcp, grpc, command, ttl or none; http is for http and https services, others get tcp, udp services none",
    "tcp",
)
CHECK_INTERVAL: Final = Setting("AGENT_CHECK_INTERVAL", positive_seconds, 3.0, "how often a service is checked", "3")
CHECK_TIMEOUT: Final = Setting(
    "AGENT_CHECK_TIMEOUT", _check_timeout, 2.0, "how long a check may take, at most 5 s", "2"
)
CHECK_RISE: Final = Setting("AGENT_CHECK_RISE", integer(1, 100), 2, "successes in a row that make it passing", "2")
CHECK_FALL: Final = Setting("AGENT_CHECK_FALL", integer(1, 100), 2, "failures in a row that make it critical", "2")
CHECK_INITIAL_DELAY: Final = Setting(
    "AGENT_CHECK_INITIAL_DELAY", seconds, 0.0, "the delay of the first check after the start", "10"
)
ZONE: Final = Setting(
    "AGENT_ZONE",
    text,
    "",
    "the zone that this agent runs in; answers put instances of the same zone first",
    "eu-west-1a",
)
WHEN_NONE_PASS: Final = Setting(
    "AGENT_WHEN_NONE_PASS",
    _when_none_pass,
    WhenNonePass.ALL,
    "what to answer for a service of which no instance passes or drains: all that fail, or none",
    "none",
)
DRAIN_SRV: Final = Setting(
    "AGENT_DRAIN_SRV",
    _drain_srv,
    Timings().drain_srv_s,
    "how long SRV answers name a draining instance, with weight 0, before it leaves them, too; at most 2 s",
    "1.5",
)
DRAIN_WAIT: Final = Setting(
    "AGENT_DRAIN_WAIT",
    seconds,
    5.0,
    "how long a service that leaves waits after that, for clients with earlier DNS answers",
    "5",
)
DRAIN_CONFIRM: Final = Setting(
    "AGENT_DRAIN_CONFIRM",
    seconds,
    3.0,
    "how long a service that leaves waits, at most, for all agents to acknowledge it",
    "3",
)
STATE_DIR: Final = Setting(
    "AGENT_STATE_DIR",
    text,
    "",
    "this agent's own folder for what it keeps over a restart; if unset, it keeps nothing",
    "/var/lib/vertice",
)
VIEW_SERVICES: Final = Setting(
    "AGENT_VIEW_SERVICES",
    integer(1, 1_000_000),
    1000,
    "services held in memory; of a larger fleet, those that are asked for",
    "5000",
)
VIEW_MB: Final = Setting(
    "AGENT_VIEW_MB",
    integer(1, 1_000_000),
    50,
    "megabytes for them, as measured, the names of all services included",
    "200",
)
STATIC_FILE: Final = Setting(
    "AGENT_STATIC_FILE",
    text,
    "",
    "a TOML file with addresses of services that neither the registry nor the environment knows",
    "/etc/vertice/static.toml",
)
LOG_FORMAT: Final = Setting("AGENT_LOG_FORMAT", choice(*FORMATS), AUTO, FORMATS_MEANING, "json")
LOG_LEVEL: Final = log_level_setting("AGENT_LOG_LEVEL", AGENT_COMPONENTS, "info,agent.sync=debug")

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
    CHECK_PATH,
    CHECK_STATUS,
    CHECK_BODY,
    CHECK_TLS_CA_FILE,
    CHECK_GRPC_SERVICE,
    CHECK_COMMAND,
    CHECK_TTL,
)
# The options of a check that the environment supports, by their names in a file.
CHECK_OPTIONS: Final[dict[str, Setting[str]]] = {
    "path": CHECK_PATH,
    "status": CHECK_STATUS,
    "body": CHECK_BODY,
    "tls_ca_file": CHECK_TLS_CA_FILE,
    "grpc_service": CHECK_GRPC_SERVICE,
    "command": CHECK_COMMAND,
    "ttl": CHECK_TTL,
}
AGENT_TABLE: Final[tuple[Setting[Any], ...]] = (
    REGISTRY_URL,
    *REGISTRY_KEY_TABLE,
    *CLIENT_TLS_SETTINGS,
    HEARTBEAT_INTERVAL,
    INITIAL_WAIT_TIMEOUT,
    HTTP_LISTEN,
    *LOCAL_PORT_TABLE,
    DNS_LISTEN,
    DNS_ZONE,
    DNS_ALLOW,
    DNS_RATE_LIMIT,
    DNS_FORWARD,
    DNS_REVERSE,
    FOLLOW_NAMESPACE,
    CHECK,
    CHECK_INTERVAL,
    CHECK_TIMEOUT,
    CHECK_RISE,
    CHECK_FALL,
    CHECK_INITIAL_DELAY,
    ZONE,
    WHEN_NONE_PASS,
    DRAIN_CONFIRM,
    DRAIN_SRV,
    DRAIN_WAIT,
    VIEW_SERVICES,
    VIEW_MB,
    STATE_DIR,
    STATIC_FILE,
    LOG_LEVEL,
    LOG_FORMAT,
    *CERTIFICATE_SETTINGS,
    USAGE,
    *TRACE_SETTINGS,
)
TABLE: Final = (*SERVICE_TABLE, *AGENT_TABLE, CONFIG)
# Accepted without effect, so that an upgraded agent starts with its old configuration.
REMOVED: Final = (
    RemovedSetting("AGENT_DNS_WORKERS", "one process answers DNS, because more of them were not shown to be faster"),
)
