"""The wire types of `GET /deployment`: all replicas, shards and services at a glance."""

from __future__ import annotations

import msgspec


class ShardSummary(msgspec.Struct, kw_only=True):
    """One shard, as one replica or as the deployment sees it.

    `lag_seconds` is the time since the shard confirmed that everything was delivered: of the deployment that of the
    replica which is furthest behind. None: it never did.
    """

    shard: str
    master: str  # host:port; "" when none is known
    lag_seconds: float | None
    breaker: str  # as in /health; a later release may know a further state, and guards too
    writes_waiting: int
    problem: str = ""


class RequestTotals(msgspec.Struct, kw_only=True):
    """Requests since the start. `refused` (4xx) and `failed` (5xx) ones count as lookups or writes as well."""

    lookups: int = 0
    writes: int = 0
    other: int = 0
    refused: int = 0
    failed: int = 0


class ReplicaSummary(msgspec.Struct, kw_only=True):
    """One replica, or a follower. `url` is where the answering replica reaches it.

    It is "" for itself without REGISTRY_PEERS, and for followers, which nobody need reach. `followers` are those that
    follow it, as they report.
    """

    id: str
    url: str = ""
    zone: str = ""
    version: str = ""  # "": of a release that does not say it
    status: str  # as in /health
    reasons: list[str] = []
    state: str  # "ready" | "warming"
    uptime_seconds: float
    watchers: int = 0
    requests: RequestTotals = msgspec.field(default_factory=RequestTotals)
    services: int
    instances: int
    view_age_seconds: float | None = 0.0  # None: the store never confirmed it
    cpu_percent: float | None = None
    certificate_ends: str | None = None  # ISO 8601, UTC; None: no TLS on the port
    guard: str = "clear"
    suspects: int = 0
    shards: list[ShardSummary] = []
    follows: str = ""  # the id of the replica that it follows
    address: str = ""  # of a follower: where its reports come from
    reported_ago_seconds: float | None = None  # of a follower
    followers: list[ReplicaSummary] = []
    followers_left_out: int = 0  # those for which there was no room, at any depth


class EarlierHealth(msgspec.Struct, kw_only=True):
    """What `/health` says in every release, for replicas that have no `/deployment`."""

    status: str
    reasons: list[str] = []
    state: str = ""
    uptime_seconds: float
    active_services: int
    instances: int


class ServiceCounts(msgspec.Struct, kw_only=True):
    """The services and instances of the answering replica's view.

    `usable` services have an instance that selection would pick; `by_status` counts instances.
    """

    services: int
    usable: int
    unusable: list[str]  # the first ones
    instances: int
    by_status: dict[str, int]


class DeploymentView(msgspec.Struct, kw_only=True):
    """`GET /deployment`. `status` is the worst of the replicas', and not healthy while one is silent."""

    status: str
    reasons: list[str]
    timestamp: str  # ISO 8601, UTC
    replicas: list[ReplicaSummary]
    silent: list[str]  # the addresses at which no replica answers
    shards: list[ShardSummary]
    services: ServiceCounts
    guard: str  # the worst
    suspects: int
