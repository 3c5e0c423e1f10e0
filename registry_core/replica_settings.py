"""The settings of one replica: the table, and the checks that involve more than one setting.

It only reads them: it opens, resolves and starts nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from registry_core.api.health_settings import HEALTH_SETTINGS, HealthLimits, health_settings
from registry_core.api.limit_settings import LIMIT_SETTINGS, LimitSettings, limit_settings
from registry_core.api.usage_settings import USAGE_SETTINGS, UsageSettings, usage_settings
from registry_core.authority_settings import AUTHORITY_SETTINGS, CA_CERT, AuthoritySettings, authority_settings
from registry_core.domain.breaker import BreakerTerms
from registry_core.domain.guard import GuardTerms
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.registration import MAX_PORT, Rules
from registry_core.domain.selection import WhenNonePass
from registry_core.errors import SettingsError
from registry_core.follow.settings import FOLLOW_SETTINGS, FollowSettings, check_follower, follow_settings
from registry_core.replica_log_levels import LOG_LEVEL, LOG_LEVEL_FILE
from registry_core.security.access_settings import ACCESS_SETTINGS, READ, AccessSettings, access_settings
from registry_core.security.audit.settings import AUDIT, AUDIT_SETTINGS, AuditSettings, audit_settings
from registry_core.security.client_settings import CLIENT_TLS_SETTINGS, ClientTlsSettings, client_tls_settings
from registry_core.security.tls_settings import TLS_SETTINGS, TlsSettings, tls_settings
from registry_core.setting_sources import given_in, unknown_names
from registry_core.setting_values import Given, Values, values_of
from registry_core.settings import (
    Listen,
    Setting,
    choice,
    http_url,
    integer,
    items,
    listen,
    positive_seconds,
    seconds,
    switch,
    text,
)
from registry_core.shared_secret import SECRET
from registry_core.store.redis.tls_settings import REDIS_TLS_SETTINGS, with_redis_tls
from registry_core.store.redis.url import PoolTerms, RedisSettings, redis_settings, without_credentials
from registry_core.telemetry.log_levels import LogLevels
from registry_core.telemetry.logs import AUTO, FORMATS, FORMATS_MEANING
from registry_core.telemetry.trace_settings import TRACE_SETTINGS, TraceSettings, trace_settings

# Beyond loopback. It keeps out what a neighbour would guess, no more; agents are to be given long random ones.
MIN_SECRET_LENGTH: Final = 6
MEMORY: Final = "memory:"
MAX_RETRIES: Final = 10
# The follower that waits for events holds one connection, writes another, and a failover needs both again.
LEAST_CONNECTIONS: Final = 4
MAX_CONNECTIONS: Final = 1000
# The longest period between sweeps; short leases are swept more often.
_SWEEP_EVERY_S: Final = 1.0
# Settings of other programs that share our prefix.
_OTHERS: Final = frozenset({"REGISTRY_URL"})
NO_FLAGS: Final[Given] = {}


def _store(value: str) -> RedisSettings | None:
    if value.strip() in (MEMORY, MEMORY.removesuffix(":")):
        return None
    if "redis" not in value.partition(":")[0]:
        raise ValueError(f"it is neither {MEMORY} nor a Redis URL")
    return redis_settings(value)


def _retries(value: str) -> tuple[float, ...]:
    found = items(positive_seconds)(value)
    if not 1 <= len(found) <= MAX_RETRIES:
        raise ValueError(f"it takes 1 to {MAX_RETRIES} pauses, comma-separated")
    return found


def _pool(value: str) -> PoolTerms:
    match = re.fullmatch(r"(\d{1,4})-(\d{1,4})", value.strip(), re.ASCII)
    if match is None:
        raise ValueError("it is not of the form fewest-most")
    idle, most = int(match[1]), int(match[2])
    if not 0 <= idle <= most or not LEAST_CONNECTIONS <= most <= MAX_CONNECTIONS:
        raise ValueError(f"the maximum is {LEAST_CONNECTIONS} to {MAX_CONNECTIONS}, and not below the minimum")
    return PoolTerms(idle, most)


def _zone(value: str) -> str:
    zone = text(value).strip()
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", zone, re.ASCII):
        raise ValueError("it may contain letters, digits and . _ - only")
    return zone


LISTEN: Final = Setting(
    "REGISTRY_LISTEN",
    listen,
    Listen("127.0.0.1", 8888),
    "the address and port to listen on; `:8888` means every address, of IPv4 and IPv6",
    ":8888",
)
STORE: Final[Setting[RedisSettings | None]] = Setting(
    "REGISTRY_STORE",
    _store,
    None,
    "where registrations are kept: a Redis URL, with or without Sentinels; if unset, in this process (`memory:`)",
    "redis+sentinel://s1,s2,s3/?masters=a,b,c",
    secret=True,  # it may hold a password
    shown=lambda store: MEMORY if store is None else without_credentials(store),
)
AUTH: Final = Setting(
    "REGISTRY_AUTH",
    switch,
    True,
    "`off` accepts all writes; `on` needs REGISTRY_SECRET, except on loopback, where it then accepts all",
    "off",
)
ZONE: Final = Setting(
    "REGISTRY_ZONE", _zone, "", "the zone of this replica; answers put instances of the same zone first", "eu-1a"
)
PEERS: Final[Setting[tuple[str, ...]]] = Setting(
    "REGISTRY_PEERS",
    items(http_url),
    (),
    "all replicas, with or without this one, so that a drain is confirmed by the agents of all of them",
    "http://10.0.0.2:8888,http://10.0.0.3:8888",
)
MIN_PORT: Final = Setting(
    "REGISTRY_MIN_PORT", integer(1, MAX_PORT), 1024, "the lowest port that an instance may have", "80"
)
WARMING: Final = Setting(
    "REGISTRY_WARMING",
    seconds,
    60.0,
    "how long after an empty start a missing name is `not known yet` (503) rather than `does not exist` (404)",
    "60",
)
WARMING_ANSWER: Final = Setting(
    "REGISTRY_WARMING_ANSWER",
    choice("503", "404"),
    "503",
    "the answer to a lookup of a missing name during REGISTRY_WARMING; `404` for old clients that give up on a 503",
    "404",
)
LEASE_TTL: Final = Setting(
    "REGISTRY_LEASE_TTL", positive_seconds, 60.0, "how long a lease lasts after a heartbeat", "60"
)
HEARTBEAT_INTERVAL: Final = Setting(
    "REGISTRY_HEARTBEAT_INTERVAL", positive_seconds, 30.0, "how often agents are asked to send a heartbeat", "30"
)
LEASE_GRACE: Final = Setting(
    "REGISTRY_LEASE_GRACE", positive_seconds, 15.0, "how long an instance is kept after its lease has ended", "15"
)
GUARD_SHARE: Final = Setting(
    "REGISTRY_GUARD_SHARE",
    integer(1, 100),
    30,
    "when more than this percentage of a shard (and more than 3) fall silent at once, they are kept as suspect",
    "30",
)
GUARD_HOLD: Final = Setting(
    "REGISTRY_GUARD_HOLD", positive_seconds, 300.0, "how long suspects are kept, unless released earlier", "5m"
)
GUARD_BUDGET: Final = Setting(
    "REGISTRY_GUARD_BUDGET",
    integer(1, 100),
    10,
    "the percentage of a shard (at least 3 instances) that may expire per minute afterwards",
    "10",
)
REDIS_TIMEOUT: Final = Setting(
    "REGISTRY_REDIS_TIMEOUT",
    positive_seconds,
    5.0,
    "how long one operation on Redis may take, failovers and retries included",
    "5",
)
REDIS_RETRIES: Final[Setting[tuple[float, ...]]] = Setting(
    "REGISTRY_REDIS_RETRIES",
    _retries,
    (1.0, 2.0, 4.0),
    "the pauses between retries of a write while no new master is found, in seconds",
    "1,2,4",
)
REDIS_POOL: Final = Setting(
    "REGISTRY_REDIS_POOL", _pool, PoolTerms(), "the number of connections per shard: kept open, and at most", "5-50"
)
BREAKER_FAILURES: Final = Setting(
    "REGISTRY_BREAKER_FAILURES",
    integer(1, 1000),
    3,
    "failed writes in a row after which the breaker opens: a shard gets no more writes",
    "3",
)
BREAKER_OPEN: Final = Setting("REGISTRY_BREAKER_OPEN", positive_seconds, 30.0, "how long the breaker stays open", "30")
BREAKER_HALF_OPEN: Final = Setting(
    "REGISTRY_BREAKER_HALF_OPEN",
    positive_seconds,
    10.0,
    "how long the half-open breaker lets only some writes through before it tries all",
    "10",
)
BREAKER_TRIALS: Final = Setting(
    "REGISTRY_BREAKER_TRIALS", integer(1, 100), 10, "the percentage of writes that are tried while half-open", "10"
)
BREAKER_SUCCESSES: Final = Setting(
    "REGISTRY_BREAKER_SUCCESSES", integer(1, 1000), 2, "successes in a row that close the breaker", "2"
)
WHEN_NONE_PASS: Final = Setting(
    "REGISTRY_WHEN_NONE_PASS",
    choice(*WhenNonePass),
    "all",
    "what to answer for a service of which no instance passes or drains: `all` that fail, or `none`",
    "none",
)
LOG_FORMAT: Final = Setting("REGISTRY_LOG_FORMAT", choice(*FORMATS), AUTO, FORMATS_MEANING, "json")

SETTINGS: Final[tuple[Setting[Any], ...]] = (
    LISTEN,
    STORE,
    SECRET,
    AUTH,
    ZONE,
    PEERS,
    MIN_PORT,
    WARMING,
    WARMING_ANSWER,
    LEASE_TTL,
    HEARTBEAT_INTERVAL,
    LEASE_GRACE,
    GUARD_SHARE,
    GUARD_HOLD,
    GUARD_BUDGET,
    REDIS_TIMEOUT,
    REDIS_RETRIES,
    REDIS_POOL,
    BREAKER_FAILURES,
    BREAKER_OPEN,
    BREAKER_HALF_OPEN,
    BREAKER_TRIALS,
    BREAKER_SUCCESSES,
    WHEN_NONE_PASS,
    *AUDIT_SETTINGS,
    *TLS_SETTINGS,
    *CLIENT_TLS_SETTINGS,
    *REDIS_TLS_SETTINGS,
    LOG_LEVEL,
    LOG_LEVEL_FILE,
    LOG_FORMAT,
    *ACCESS_SETTINGS,
    *AUTHORITY_SETTINGS,
    *LIMIT_SETTINGS,
    *HEALTH_SETTINGS,
    *USAGE_SETTINGS,
    *TRACE_SETTINGS,
    *FOLLOW_SETTINGS,
)


class ReplicaSettings(msgspec.Struct, frozen=True):
    """The settings of one replica."""

    listen: Listen = LISTEN.default
    secrets: tuple[str, ...] = ()
    zone: str = ""
    peers: tuple[str, ...] = ()
    rules: Rules = Rules()
    terms: LeaseTerms = LeaseTerms()
    warming_s: float = 60.0
    denies_while_warming: bool = False
    when_none_pass: WhenNonePass = WhenNonePass.ALL
    log_level: LogLevels = LogLevels()
    log_level_file: str = ""
    log_format: str = AUTO
    tls: TlsSettings = TlsSettings()
    client_tls: ClientTlsSettings = ClientTlsSettings()
    redis: RedisSettings | None = None  # None: registrations live in this process
    redis_timeout_s: float = REDIS_TIMEOUT.default
    redis_retries_s: tuple[float, ...] = REDIS_RETRIES.default
    breaker: BreakerTerms = BreakerTerms()
    access: AccessSettings = AccessSettings()
    authority: AuthoritySettings = AuthoritySettings()
    audit: AuditSettings = AuditSettings()
    limits: LimitSettings = LimitSettings()
    health: HealthLimits = HealthLimits()
    usage: UsageSettings = UsageSettings()
    traces: TraceSettings = TraceSettings()
    follow: FollowSettings = FollowSettings()  # without URLs: this replica has a store of its own
    unknown: tuple[str, ...] = ()  # names in the environment that look like settings and are none


def replica_values(environment: Mapping[str, str], flags: Given = NO_FLAGS) -> Values:
    """Return the values of the table from `environment`, overridden by `flags`.

    Raises SettingsError for a wrong value, for a misspelt name, and for the file of a secret that cannot be read.
    """
    unknown = unknown_names(SETTINGS, environment, ("REGISTRY_",), _OTHERS)
    return values_of(SETTINGS, {**given_in(SETTINGS, environment), **flags}, unknown)


def replica_settings(environment: Mapping[str, str], flags: Given = NO_FLAGS) -> ReplicaSettings:
    """Return the settings in `environment`, overridden by `flags`.

    Raises SettingsError for a wrong or misspelt setting, and when other machines could write without a secret.
    """
    return settings_from(replica_values(environment, flags))


def settings_from(values: Values) -> ReplicaSettings:
    """Return the settings that `values` describe. Raises SettingsError for values that do not fit together."""
    where = values[LISTEN]
    secrets = values[SECRET] if values[AUTH] else ()
    access = _access(values)
    if values[AUTH] and not secrets and not access.keys_file and not where.is_loopback:
        raise SettingsError(
            f"{SECRET.name}: a registry that listens on {where} needs a secret, or {AUTH.name}=off to let anybody write"
        )
    if not where.is_loopback and any(len(one) < MIN_SECRET_LENGTH for one in secrets):
        raise SettingsError(
            f"{values.label(SECRET.name)}: a registry that listens on {where} needs secrets of {MIN_SECRET_LENGTH} or "
            "more characters (example: the output of `openssl rand -hex 24`)"
        )
    guard = GuardTerms(
        share=values[GUARD_SHARE] / 100, hold_s=values[GUARD_HOLD], budget_share=values[GUARD_BUDGET] / 100
    )
    terms = _terms(values[LEASE_TTL], values[HEARTBEAT_INTERVAL], values[LEASE_GRACE], guard)
    return ReplicaSettings(
        listen=where,
        secrets=secrets,
        zone=values[ZONE],
        peers=values[PEERS],
        rules=Rules(min_port=values[MIN_PORT]),
        terms=terms,
        warming_s=values[WARMING],
        denies_while_warming=values[WARMING_ANSWER] == "404",
        when_none_pass=WhenNonePass(values[WHEN_NONE_PASS]),
        log_level=values[LOG_LEVEL],
        log_level_file=values[LOG_LEVEL_FILE],
        log_format=values[LOG_FORMAT],
        tls=tls_settings(values),
        client_tls=client_tls_settings(values),
        redis=with_redis_tls(_with_pool(values[STORE], values[REDIS_POOL]), values),
        redis_timeout_s=values[REDIS_TIMEOUT],
        redis_retries_s=values[REDIS_RETRIES],
        breaker=BreakerTerms(
            failures=values[BREAKER_FAILURES],
            open_s=values[BREAKER_OPEN],
            half_open_s=values[BREAKER_HALF_OPEN],
            trial_share=values[BREAKER_TRIALS] / 100,
            successes=values[BREAKER_SUCCESSES],
        ),
        access=access,
        authority=authority_settings(values),
        audit=audit_settings(values),
        limits=limit_settings(values),
        health=health_settings(values),
        usage=usage_settings(values),
        traces=trace_settings(values),
        follow=_follow(values),
        unknown=values.unknown,
    )


def _access(values: Values) -> AccessSettings:
    if not values[AUTH]:
        if values[READ] != "open":
            raise SettingsError(f"{READ.name}: {AUTH.name}=off lets anybody write, so reading cannot need a key")
        return AccessSettings()
    least = 1 if values[LISTEN].is_loopback else MIN_SECRET_LENGTH
    return msgspec.structs.replace(access_settings(values), least_secret=least)


def _follow(values: Values) -> FollowSettings:
    follow = follow_settings(values)
    if follow.urls:
        check_follower(values, (STORE, AUDIT, CA_CERT))
    return follow


def _with_pool(redis: RedisSettings | None, pool: PoolTerms) -> RedisSettings | None:
    return None if redis is None else msgspec.structs.replace(redis, pool=pool)


def _terms(ttl_s: float, heartbeat_s: float, grace_s: float, guard: GuardTerms) -> LeaseTerms:
    if heartbeat_s >= ttl_s:
        raise SettingsError(
            f"{HEARTBEAT_INTERVAL.name}: {heartbeat_s:g} s is not below {LEASE_TTL.name}, which is {ttl_s:g} s; "
            f"set it to half of that or less"
        )
    # The sweep removes at ttl + grace less its own period, which must not cut into the lease.
    terms = LeaseTerms(ttl_s, heartbeat_s, grace_s, sweep_every_s=min(_SWEEP_EVERY_S, grace_s / 2), guard=guard)
    # A pause in sweeping that is too short for an amnesty must not expire an instance that sends its heartbeats.
    amnesty_after_s = min(terms.amnesty_after_s, terms.removed_after_s - heartbeat_s)
    return msgspec.structs.replace(terms, amnesty_after_s=amnesty_after_s)
