"""The wire types of a replica's own state: health, guard and liveness."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from registry_core.domain.breaker import BreakerState
from registry_core.domain.guard import GuardPhase
from registry_core.ports.audit import AuditReport
from registry_core.ports.reports import PoolReport, ShardReport
from registry_core.security.certificate_health import CertificateHealth
from registry_core.supervision import BackgroundReport


class SystemHealth(msgspec.Struct, kw_only=True):
    """The process: its share of one core, over a minute; the machine's memory; its asyncio tasks."""

    cpu_percent: float | None  # None: not sampled yet
    memory_percent: float | None
    tasks: int


class StoreHealth(msgspec.Struct, kw_only=True):
    """The store: `ok`, or `failing` when its last sweep did not work, a shard is away, or has entries set aside."""

    kind: str  # "memory" | "redis"
    status: str
    last_sweep_age_s: float | None
    shards: tuple[ShardReport, ...] = ()


class RedisHealth(msgspec.Struct, kw_only=True):
    """All shards together: `ok`, `slow`, or `failing`; the latency is the slowest master's, the pool the sum."""

    status: str
    latency_ms: float | None  # None: no master answers
    connection_pool: PoolReport


class CircuitBreakerHealth(msgspec.Struct, kw_only=True):
    """The worst of the shards' breakers."""

    state: BreakerState
    failure_count: int  # in a row
    last_failure: str | None  # ISO 8601, UTC
    reason: str  # of the last failure; "" when there was none


class CacheHealth(msgspec.Struct, kw_only=True):
    """The replica's own view, from which lookups are answered.

    A hit is a lookup that it could answer, also with the certainty that a service does not exist.
    """

    size: int
    services: int
    age_s: float | None  # since the store last confirmed that everything was delivered; None when it never did
    hit_rate: float | None  # over the last minute, 0 to 1; None when too few lookups came to tell
    memory_mb: float
    oldest_entry_age_s: float | None  # since the heartbeat of the instance that is silent the longest


class WatchHealth(msgspec.Struct, kw_only=True):
    """The open watches of this replica."""

    watchers: int


class SecretsHealth(msgspec.Struct, kw_only=True):
    """The secrets and signatures of this replica's callers."""

    plain: str = "warn"  # what becomes of a secret that comes as it is over plain HTTP: "warn" | "on" | "off"
    plain_exposed: int = 0  # how many came so from another machine, and were accepted
    problem: str = ""  # why a file of secrets is not in use as it is
    remembered_signatures: int = 0


class AccessHealth(msgspec.Struct, kw_only=True):
    """The credentials of writes: `refusing` when writes were refused lately, and none had a valid credential."""

    status: str  # "ok" | "refusing"
    refused_recently: int  # in the last 90 s, or in the TTL of a lease if that is longer
    refused_total: int
    last_refusal: str  # in the words of the answer; "" when there was none
    secrets: SecretsHealth = msgspec.field(default_factory=SecretsHealth)
    unbelieved_proxies: list[str] = []  # the first ones that forward for others, and are not trusted


class PeersHealth(msgspec.Struct, kw_only=True):
    """The replicas of REGISTRY_PEERS; `silent` ones have not answered for some seconds."""

    known: int
    silent: int
    silent_urls: list[str]  # the first ones


class FollowHealth(msgspec.Struct, kw_only=True):
    """The registry that a follower follows. `age_s` counts since it last confirmed what is in view."""

    upstreams: list[str]
    connected_to: str  # "" while no watch is up
    state: str  # of the registry, as it was last reported: "ready" | "warming"; "" before
    freshness: str  # of what lookups answer: "fresh" | "stale" | "expired"
    age_s: float | None  # None before the first snapshot
    lost_s: float | None  # since the watch was lost; None while it is up
    problem: str  # why it is not up; "" while it is
    path: list[str]  # the ids of the replicas from the one that it follows up to the registry with the store


class FollowersHealth(msgspec.Struct, kw_only=True):
    """The followers of this replica that report: `direct` ones, and in all with those below them."""

    direct: int
    below: int
    silent: list[str]  # the ids of the first direct ones that have stopped reporting


class ShardGuardView(msgspec.Struct, kw_only=True):
    """The mass-expiry guard of one shard, as of the last sweep."""

    shard: str
    phase: GuardPhase
    reason: str
    instances: int
    suspects: int
    held_seconds: float
    releases_in_seconds: float | None  # None: it does not hold
    budget_per_minute: float


class GuardView(msgspec.Struct, kw_only=True):
    """`GET /guard`: the guards of all shards; `phase` is the worst of them."""

    phase: GuardPhase
    suspects: int
    shards: list[ShardGuardView]


class GuardReleasedView(msgspec.Struct, kw_only=True):
    """The answer to `POST /guard/release`: the shards whose guard was holding, and the state of all."""

    released: list[str]
    guard: GuardView


class ComponentsHealth(msgspec.Struct, kw_only=True):
    """The parts of `/health`."""

    store: StoreHealth
    redis: RedisHealth | UnsetType = UNSET  # only with a store in Redis, like the next
    circuit_breaker: CircuitBreakerHealth | UnsetType = UNSET
    guard: GuardView
    cache: CacheHealth
    system: SystemHealth
    watch: WatchHealth
    access: AccessHealth
    audit: AuditReport
    tls: CertificateHealth | UnsetType = UNSET  # only with TLS on the port
    peers: PeersHealth | UnsetType = UNSET  # only with REGISTRY_PEERS
    follow: FollowHealth | UnsetType = UNSET  # only of a follower
    followers: FollowersHealth | UnsetType = UNSET  # only while any report here
    background: list[BackgroundReport]


class HealthView(msgspec.Struct, kw_only=True):
    """`GET /health`."""

    status: str  # "healthy" | "degraded" | "unhealthy"
    reasons: list[str]  # one sentence for each fault; none when it is healthy
    timestamp: str  # ISO 8601, UTC
    uptime_seconds: float
    state: str  # "ready" | "warming"
    active_services: int
    instances: int
    components: ComponentsHealth


class WhoamiView(msgspec.Struct, kw_only=True):
    """`GET /whoami`."""

    address: str  # the peer's, as this replica sees it: behind a proxy, the proxy's


class LiveView(msgspec.Struct, kw_only=True):
    """`GET /live` and `GET /ready`."""

    status: str  # "live" | "ready" | "starting" | "stopping"
    state: str
