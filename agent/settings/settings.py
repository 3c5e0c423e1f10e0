"""Reads and validates the settings of one agent, including its services.

They come from the environment, and from a TOML file for an agent with many services; the environment wins.
Whether a port is too low, or a name is taken, is decided by the registry.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from agent.checks.spec import CheckPace, CheckSpec
from agent.registries.addresses import SrvName, read_source
from agent.settings.certificates import CertificateSettings, certificate_settings
from agent.settings.checks import CheckDefaults, default_kind, read_checks
from agent.settings.file import ServiceTable
from agent.settings.local_port import LocalPortSettings, local_port_settings
from agent.settings.sources import NO_FLAGS, AgentSources, read_agent_sources
from agent.settings.table import (
    CHECK,
    CHECK_FALL,
    CHECK_INITIAL_DELAY,
    CHECK_INTERVAL,
    CHECK_OPTIONS,
    CHECK_RISE,
    CHECK_TIMEOUT,
    DNS_ALLOW,
    DNS_FORWARD,
    DNS_LISTEN,
    DNS_RATE_LIMIT,
    DNS_REVERSE,
    DNS_ZONE,
    DRAIN_CONFIRM,
    DRAIN_SRV,
    DRAIN_WAIT,
    FOLLOW_NAMESPACE,
    HEARTBEAT_INTERVAL,
    HTTP_LISTEN,
    INITIAL_WAIT_TIMEOUT,
    LOG_FORMAT,
    LOG_LEVEL,
    REGISTRY_URL,
    SERVICE_HEALTH_ENDPOINT,
    SERVICE_HOST,
    SERVICE_INSTANCE_ID,
    SERVICE_METADATA,
    SERVICE_NAME,
    SERVICE_PORT,
    SERVICE_PROTOCOL,
    SERVICE_TABLE,
    SERVICE_TAGS,
    SERVICE_VERSION,
    SERVICE_WEIGHT,
    SERVICE_ZONE,
    STATE_DIR,
    STATIC_FILE,
    TABLE,
    VIEW_MB,
    VIEW_SERVICES,
    WHEN_NONE_PASS,
    ZONE,
)
from agent.settings.usage import USAGE
from agent.view.fallback import of_environment, of_file
from agent.view.lru import MEGABYTE, ViewLimits
from dns.access import LOOPBACK
from dns.forward_rules import ForwardRules
from dns.record_data import name_of
from dns.reverse import ReverseNames
from registry_core.domain.records import Instance, InstanceKey, Protocol, Registration, default_instance_id
from registry_core.domain.registration import Rules, checked
from registry_core.domain.selection import WhenNonePass
from registry_core.errors import SettingsError, ValidationError
from registry_core.security.client_settings import ClientTlsSettings, client_tls_settings
from registry_core.security.registry_keys import sender_keys, service_keys
from registry_core.security.sending import SenderKeys
from registry_core.setting_values import Given, Values
from registry_core.settings import Listen, RemovedSetting
from registry_core.telemetry.log_levels import LogLevels
from registry_core.telemetry.trace_settings import TraceSettings, trace_settings

MAX_SERVICES: Final = 1000
# The registry decides on ports below 1024; here any valid port passes.
_ANY_PORT: Final = Rules(min_port=1)


class ServiceSpec(msgspec.Struct, frozen=True):
    """One service of the agent: its registration, and its checks; without checks it counts as passing."""

    claim: Registration
    checks: tuple[CheckSpec, ...] = ()
    has_own_id: bool = True  # False: the id is the default one
    has_own_host: bool = True  # False: the host is this machine's name, which nobody has chosen


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of an agent. Durations in seconds."""

    registry_urls: tuple[str, ...] = REGISTRY_URL.default
    keys: SenderKeys = SenderKeys()
    tls: ClientTlsSettings = ClientTlsSettings()
    heartbeat_s: float = HEARTBEAT_INTERVAL.default
    initial_wait_s: float = INITIAL_WAIT_TIMEOUT.default
    http_listen: Listen = HTTP_LISTEN.default
    local_port: LocalPortSettings = LocalPortSettings()
    dns_listen: Listen = DNS_LISTEN.default
    dns_zone: str = DNS_ZONE.default
    dns_allow: tuple[str, ...] = DNS_ALLOW.default
    dns_rate_limit: int = DNS_RATE_LIMIT.default
    dns_forward: ForwardRules = DNS_FORWARD.default
    dns_reverse: ReverseNames = DNS_REVERSE.default
    follow_namespace: bool = False
    zone: str = ""
    when_none_pass: WhenNonePass = WHEN_NONE_PASS.default
    drain_confirm_s: float = DRAIN_CONFIRM.default
    drain_srv_s: float = DRAIN_SRV.default
    drain_wait_s: float = DRAIN_WAIT.default
    view: ViewLimits = ViewLimits()
    state_dir: str = STATE_DIR.default
    # Services from the environment, and from a file, for names that the registry does not have.
    static_services: tuple[tuple[Instance, ...], tuple[Instance, ...]] = ((), ())
    log_level: LogLevels = LOG_LEVEL.default
    log_format: str = LOG_FORMAT.default
    services: tuple[ServiceSpec, ...] = ()
    certificates: CertificateSettings = CertificateSettings()
    counts_usage: bool = USAGE.default
    traces: TraceSettings = TraceSettings()
    files: tuple[str, ...] = ()  # the files read, in addition to the environment
    ignored: tuple[RemovedSetting, ...] = ()  # set, but without effect because they were removed
    unknown: tuple[str, ...] = ()  # names in the environment that look like settings and are none


def read_agent_settings(
    environment: Mapping[str, str], config: Path | None = None, flags: Given = NO_FLAGS
) -> AgentSettings:
    """Return the settings from `environment` and from the file `config` (or AGENT_CONFIG), overridden by `flags`.

    Raises SettingsError for the first invalid value, for a misspelt name, and for a file that cannot be read.
    """
    return settings_from(read_agent_sources(environment, config, flags))


def settings_from(sources: AgentSources) -> AgentSettings:
    """Return the settings that `sources` describe. Raises SettingsError."""
    values = sources.values
    where = f"{sources.path}: " if sources.services else ""
    services = [
        _from_table(service, f"{sources.path}: [[service]] {n}", values)
        for n, service in enumerate(sources.services, 1)
    ]
    keyed = [
        (f"{sources.path}: [[service]] {n} ({one.name})", one.name, one.key, one.key_file)
        for n, one in enumerate(sources.services, 1)
    ]
    secret_files = [*_secret_files(values), *(one.key_file for one in sources.services)]
    of_service = [setting for setting in SERVICE_TABLE if values.given(setting)]
    if values[SERVICE_NAME]:
        services.append(_from_environment(values))
    elif of_service:
        raise SettingsError(
            f"{SERVICE_NAME.name}: it is missing, but {of_service[0].name} is set (example: osint_service)"
        )
    return AgentSettings(
        registry_urls=_not_here(values),
        keys=sender_keys(values, service_keys(keyed)),
        tls=client_tls_settings(values),
        heartbeat_s=values[HEARTBEAT_INTERVAL],
        initial_wait_s=values[INITIAL_WAIT_TIMEOUT],
        http_listen=values[HTTP_LISTEN],
        local_port=local_port_settings(values),
        dns_listen=values[DNS_LISTEN],
        dns_zone=values[DNS_ZONE],
        # Programs on this machine are always allowed.
        dns_allow=tuple(dict.fromkeys((*LOOPBACK, *values[DNS_ALLOW]))),
        dns_rate_limit=values[DNS_RATE_LIMIT],
        dns_forward=_outside(values),
        dns_reverse=values[DNS_REVERSE],
        follow_namespace=values[FOLLOW_NAMESPACE],
        zone=values[ZONE],
        when_none_pass=values[WHEN_NONE_PASS],
        drain_confirm_s=values[DRAIN_CONFIRM],
        drain_srv_s=values[DRAIN_SRV],
        drain_wait_s=values[DRAIN_WAIT],
        view=ViewLimits(values[VIEW_SERVICES], values[VIEW_MB] * MEGABYTE),
        state_dir=values[STATE_DIR],
        static_services=(
            tuple(of_environment(sources.environment)),
            _of_static_file(values),
        ),
        log_level=values[LOG_LEVEL],
        log_format=values[LOG_FORMAT],
        services=_distinct(services, where),
        certificates=certificate_settings(values),
        counts_usage=values[USAGE],
        traces=trace_settings(values),
        files=tuple(str(file) for file in (sources.path, values[STATIC_FILE], *secret_files) if file),
        ignored=sources.removed,
        unknown=values.unknown,
    )


def _of_static_file(values: Values) -> tuple[Instance, ...]:
    if not values[STATIC_FILE]:
        return ()
    try:
        return tuple(of_file(Path(values[STATIC_FILE])))
    except SettingsError as error:
        raise SettingsError(f"{values.label(STATIC_FILE.name)}: {error}") from None


def _secret_files(values: Values) -> list[str]:
    return [one.secret_file for setting in TABLE if setting.secret for one in values.given(setting)]


def _outside(values: Values) -> ForwardRules:
    """Return the forwarding rules. Raises SettingsError if one covers names that are answered here."""
    zone, rules = values[DNS_ZONE], values[DNS_FORWARD]
    apex = name_of(zone)
    for rule in rules.rules:
        if rule.suffix[-len(apex) :] == apex:
            raise SettingsError(
                f"{values.label(DNS_FORWARD.name)}: {rule} cannot be used: names under {zone} are answered here and "
                f"never forwarded (example: {DNS_FORWARD.example})"
            )
    return rules


def _not_here(values: Values) -> tuple[str, ...]:
    """Return the registries. Raises SettingsError if the agent would have to resolve one through itself."""
    zone, urls = values[DNS_ZONE], values[REGISTRY_URL]
    apex = name_of(zone)
    for url in urls:
        source = read_source(url)
        if isinstance(source, SrvName) and source.name[-len(apex) :] == apex:
            raise SettingsError(
                f"{values.label(REGISTRY_URL.name)}: {url!r} cannot be used: names under {zone} are answered here "
                f"from the registry's data (example: {REGISTRY_URL.example})"
            )
    return urls


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
        check=_check_of_environment(values),
    )
    try:
        return _spec(table, values)
    except ValidationError as error:
        top, _, option = (error.field or "").partition(".")
        if top == "check":
            name = f"AGENT_CHECK_{option.upper()}" if option else CHECK.name
            error.example = CHECK_OPTIONS[option].example if option in CHECK_OPTIONS else error.example
        else:
            name = "SERVICE_NAME" if top == "service_name" else f"SERVICE_{top.upper()}"
        raise SettingsError(_line(values.label(name), error)) from None


def _check_of_environment(values: Values) -> dict[str, str]:
    """Return the options of the one service's check from the environment, in the form of the file's table."""
    options = {key: values[setting] for key, setting in CHECK_OPTIONS.items() if values[setting]}
    if not options:
        return {}
    return {"kind": default_kind(values[CHECK], Protocol(values[SERVICE_PROTOCOL])).value, **options}


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
        instance_id=table.instance_id or "0",  # a placeholder for validation; replaced below
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
        claim = msgspec.structs.replace(claim, instance_id=default_instance_id(claim.host, claim.port, claim.protocol))
    return ServiceSpec(
        claim,
        read_checks(table.check, claim, _defaults(values)),
        has_own_id=bool(table.instance_id),
        has_own_host=bool(table.host),
    )


def _defaults(values: Values) -> CheckDefaults:
    pace = CheckPace(
        interval_s=values[CHECK_INTERVAL],
        timeout_s=values[CHECK_TIMEOUT],
        rise=values[CHECK_RISE],
        fall=values[CHECK_FALL],
        initial_delay_s=values[CHECK_INITIAL_DELAY],
    )
    return CheckDefaults(values[CHECK], pace)


def _distinct(services: list[ServiceSpec], where: str) -> tuple[ServiceSpec, ...]:
    if len(services) > MAX_SERVICES:
        raise SettingsError(
            f"{where}{len(services)} services are configured, but one agent takes at most {MAX_SERVICES}"
        )
    seen: dict[InstanceKey | str, str] = {}
    spellings: dict[str, str] = {}
    for spec in services:
        claim = spec.claim
        spelling = spellings.setdefault(claim.key.label, claim.service_name)
        if spelling != claim.service_name:
            raise SettingsError(
                f"{where}{claim.service_name}: {spelling} is configured, too, and the two are one name in DNS, where "
                f"_ and - are the same; give one service one spelling, and two services different names"
            )
        marks: tuple[InstanceKey | str, ...] = (claim.key, claim.socket)
        for mark in marks:
            if mark in seen:
                raise SettingsError(
                    f"{where}{claim.service_name}: {claim.instance_id} is configured twice "
                    f"(the other is of {seen[mark]}); give each its own host:port and instance_id"
                )
            seen[mark] = claim.service_name
    return tuple(services)
