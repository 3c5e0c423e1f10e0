"""What the agent can be told: the table of its settings, from which they are read, documented and checked."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from agent.checks.spec import CheckKind
from agent.registries.addresses import source_text
from agent.settings.checks import MAX_CHECK_TIMEOUT_S
from dns.access import LOOPBACK
from dns.forward_rules import ForwardRules, read_rules
from registry_core.domain.records import Protocol
from registry_core.domain.selection import WhenNonePass
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
    text,
)
from registry_core.telemetry.logs import LEVELS


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f"it is not a network ({error})") from None


def _one_registry_or_more(value: str) -> tuple[str, ...]:
    urls = items(source_text)(value)
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
# How that one service is checked; read by the same table as the file's [service.check].
CHECK_PATH: Final = Setting("AGENT_CHECK_PATH", text, "", "http: the path; none: SERVICE_HEALTH_ENDPOINT", "/healthz")
CHECK_STATUS: Final = Setting(
    "AGENT_CHECK_STATUS", text, "", "http: the statuses that are good; none: 2xx", "200-204,301"
)
CHECK_BODY: Final = Setting("AGENT_CHECK_BODY", text, "", "http: a pattern that the body has to match", "ok|ready")
CHECK_TLS_CA_FILE: Final = Setting(
    "AGENT_CHECK_TLS_CA_FILE",
    text,
    "",
    "http, grpc: who has to have signed the service's certificate; none: it is not looked at",
    "/etc/vertice/ca.pem",
)
CHECK_GRPC_SERVICE: Final = Setting(
    "AGENT_CHECK_GRPC_SERVICE", text, "", "grpc: the service asked for; none: the whole server", "billing.v1.Invoices"
)
CHECK_COMMAND: Final = Setting(
    "AGENT_CHECK_COMMAND", text, "", "command: a program and its arguments, for no shell", "/bin/check-billing --quick"
)
CHECK_TTL: Final = Setting("AGENT_CHECK_TTL", text, "", "ttl: how long a report of the service holds; none: 30 s", "30")

# The registry, and the pace.
REGISTRY_URL: Final[Setting[tuple[str, ...]]] = Setting(
    "REGISTRY_URL",
    _one_registry_or_more,
    ("http://127.0.0.1:8888",),
    "the registry, or several, comma-separated, the nearest first; perhaps with #zone=NAME, or srv:NAME",
    "http://registry-a:8888,http://registry-b:8888#zone=eu-1b,srv:_registry._tcp.example",
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
FOLLOW_NAMESPACE: Final = Setting(
    "AGENT_FOLLOW_NAMESPACE",
    choice("on", "off"),
    "off",
    "on: end, so as to be restarted, when the container whose network it shares is another by now",
    "on",
)
DNS_RATE_LIMIT: Final = Setting(
    "AGENT_DNS_RATE_LIMIT",
    integer(0, 1_000_000),
    1000,
    "answers of one kind a second over UDP to one network (/24, /56) beyond loopback; 0: no limit",
    "200",
)
DNS_FORWARD: Final = Setting(
    "AGENT_DNS_FORWARD",
    read_rules,
    ForwardRules(),
    "who is asked for other names: system (/etc/resolv.conf), none, or addresses; suffix=address for some of them",
    "10.0.0.2,10.0.0.3:5353,corp.example=10.1.0.2",
)
CHECK: Final = Setting(
    "AGENT_CHECK",
    _check_kind,
    CheckKind.HTTP,
    "http, tcp, grpc, command, ttl or none; http asks only who speaks it, the rest by tcp (udp not at all)",
    "tcp",
)
CHECK_INTERVAL: Final = Setting("AGENT_CHECK_INTERVAL", positive_seconds, 3.0, "how often a service is checked", "3")
CHECK_TIMEOUT: Final = Setting("AGENT_CHECK_TIMEOUT", _check_timeout, 2.0, "how long a check may take, at most 5", "2")
CHECK_RISE: Final = Setting("AGENT_CHECK_RISE", integer(1, 100), 2, "good checks in a row that make it passing", "2")
CHECK_FALL: Final = Setting("AGENT_CHECK_FALL", integer(1, 100), 2, "bad checks in a row that make it critical", "2")
CHECK_INITIAL_DELAY: Final = Setting(
    "AGENT_CHECK_INITIAL_DELAY", seconds, 0.0, "how long after the start the first check is", "10"
)
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
DRAIN_WAIT: Final = Setting(
    "AGENT_DRAIN_WAIT",
    seconds,
    5.0,
    "how long it may be called after that by whoever goes by earlier DNS answers",
    "5",
)
DRAIN_CONFIRM: Final = Setting(
    "AGENT_DRAIN_CONFIRM",
    seconds,
    3.0,
    "how long a service that leaves waits, at most, until every agent has acknowledged that",
    "3",
)
STATE_DIR: Final = Setting(
    "AGENT_STATE_DIR",
    text,
    "",
    "a folder of this agent's own, where it keeps what it knows over a restart; none: it keeps nothing",
    "/var/lib/vertice",
)
VIEW_SERVICES: Final = Setting(
    "AGENT_VIEW_SERVICES",
    integer(1, 1_000_000),
    1000,
    "services that are held in memory; of a larger fleet, those that are asked for",
    "5000",
)
VIEW_MB: Final = Setting(
    "AGENT_VIEW_MB",
    integer(1, 1_000_000),
    50,
    "megabytes that they may take, as measured, with the names of all",
    "200",
)
STATIC_FILE: Final = Setting(
    "AGENT_STATIC_FILE",
    text,
    "",
    "a TOML file of services and their addresses, used when nobody else knows of them",
    "/etc/vertice/static.toml",
)
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
    CHECK_PATH,
    CHECK_STATUS,
    CHECK_BODY,
    CHECK_TLS_CA_FILE,
    CHECK_GRPC_SERVICE,
    CHECK_COMMAND,
    CHECK_TTL,
)
# The options of a check that the environment has, by their names in a file.
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
    TOKEN,
    HEARTBEAT_INTERVAL,
    INITIAL_WAIT_TIMEOUT,
    HTTP_LISTEN,
    DNS_LISTEN,
    DNS_ZONE,
    DNS_ALLOW,
    DNS_RATE_LIMIT,
    DNS_FORWARD,
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
    DRAIN_WAIT,
    VIEW_SERVICES,
    VIEW_MB,
    STATE_DIR,
    STATIC_FILE,
    LOG_LEVEL,
)
TABLE: Final = (*SERVICE_TABLE, *AGENT_TABLE, CONFIG)
# An agent that is upgraded starts with the configuration it had: these are accepted, and have no effect.
REMOVED: Final = (
    RemovedSetting("AGENT_DNS_WORKERS", "one process answers DNS, because more of them were not shown to be faster"),
)
