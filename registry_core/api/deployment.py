"""`GET /deployment`: asks the other replicas how they are, and adds up. Lookups and writes never ask.

Anybody who may observe may ask, and each answer costs a request to each replica: it is made once a second at most.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import UNSET

from registry_core.api.deployment_schemas import (
    DeploymentView,
    EarlierHealth,
    ReplicaSummary,
    RequestTotals,
    ServiceCounts,
    ShardSummary,
)
from registry_core.api.follow_tree import FollowTree
from registry_core.api.follower_book import flat, with_followers
from registry_core.api.health import Health, worst
from registry_core.api.health_schemas import HealthView
from registry_core.api.peers import Peers
from registry_core.api.view import ReplicaView
from registry_core.bodies import decoded
from registry_core.domain.breaker import BreakerState
from registry_core.domain.catalog import Catalog
from registry_core.domain.guard import GuardPhase
from registry_core.domain.records import Status
from registry_core.ports.clock import Clock
from registry_core.ports.reports import ShardReport

# How long one answer is shared.
SHARED_S: Final = 1.0
MAX_REASONS: Final = 8
MAX_REASON: Final = 300
MAX_SHARDS: Final = 64
MAX_NAMED: Final = 16
# One replica with all the followers that it may show.
MAX_SUMMARY_BYTES: Final = 1024 * 1024
_USABLE: Final = frozenset({Status.PASSING, Status.WARNING})
# Calm to alarmed; a state that only a later release knows comes after them.
_BREAKERS: Final = (BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN)
_GUARDS: Final = tuple(GuardPhase)
_DISAGREE: Final = "the replicas see different masters"


class Deployment:
    """The replicas of `peers`, and this one."""

    def __init__(
        self,
        health: Callable[[], HealthView],
        view: ReplicaView,
        peers: Peers,
        requests: Callable[[], RequestTotals],
        *,
        version: str,
        zone: str,
        clock: Clock,
        tree: FollowTree,
    ) -> None:
        self._tree = tree
        # Of a follower: returns what the registry says of the whole; None while that does not answer.
        self.above: Callable[[], Awaitable[DeploymentView | None]] | None = None
        self._health = health
        self._view = view
        self._peers = peers
        self._requests = requests
        self._version = version
        self._zone = zone
        self._clock = clock
        self._making = asyncio.Lock()
        self._latest: tuple[float, DeploymentView] | None = None

    def own(self) -> ReplicaSummary:
        """Return the state of this replica, and of its followers."""
        alone = summary(
            self._health(), self._requests(), replica=self._peers.id, version=self._version, zone=self._zone
        )
        return msgspec.structs.replace(with_followers(alone, self._tree.followers()), follows=self._tree.follows())

    async def whole(self) -> DeploymentView:
        """Return the state of all replicas, SHARED_S old at most."""
        async with self._making:
            now = self._clock.monotonic()
            if self._latest is None or now - self._latest[0] > SHARED_S:
                self._latest = now, await self._made()
            return self._latest[1]

    async def _made(self) -> DeploymentView:
        own, urls = self.own(), self._peers.urls
        if self.above is not None and (above := await self.above()) is not None:
            return seen_below(above, own)
        said = await asyncio.gather(*map(self._summary_at, urls))
        found = {own.id: own}
        silent = []
        for url, one in zip(urls, said, strict=True):
            if one is None:
                silent.append(url)
            else:
                found[one.id] = msgspec.structs.replace(own if one.id == own.id else one, url=url)
        at = datetime.fromtimestamp(self._clock.wall(), UTC).isoformat()
        return deployment_view(list(found.values()), silent, counts(self._view.catalog), at=at)

    async def _summary_at(self, url: str) -> ReplicaSummary | None:
        status, body = await self._peers.ask("GET", url, "/deployment", most_bytes=MAX_SUMMARY_BYTES)
        if status == 200:
            return decoded(body, ReplicaSummary)
        if status != 404:
            return None
        # A replica of the last release, which says how it is, and no more.
        _, body = await self._peers.ask("GET", url, "/health")
        health = decoded(body, EarlierHealth)
        return None if health is None else earlier_summary(health, url)


def earlier_summary(health: EarlierHealth, url: str) -> ReplicaSummary:
    """Return what the deployment shows of a replica of the last release at `url`."""
    return ReplicaSummary(
        id=url,
        status=health.status,
        reasons=[reason[:MAX_REASON] for reason in health.reasons[:MAX_REASONS]],
        state=health.state,
        uptime_seconds=health.uptime_seconds,
        services=health.active_services,
        instances=health.instances,
    )


def summary(health: HealthView, requests: RequestTotals, *, replica: str, version: str, zone: str) -> ReplicaSummary:
    """Return what the deployment shows of a replica with this health."""
    parts = health.components
    ends = parts.tls.expires_at if parts.tls is not UNSET else None
    return ReplicaSummary(
        id=replica,
        zone=zone,
        version=version,
        status=health.status,
        reasons=[reason[:MAX_REASON] for reason in health.reasons[:MAX_REASONS]],
        state=health.state,
        uptime_seconds=health.uptime_seconds,
        watchers=parts.watch.watchers,
        requests=requests,
        services=health.active_services,
        instances=health.instances,
        view_age_seconds=parts.cache.age_s,
        cpu_percent=parts.system.cpu_percent,
        certificate_ends=None if ends is None else datetime.fromtimestamp(ends, UTC).isoformat(timespec="seconds"),
        guard=parts.guard.phase.value,
        suspects=parts.guard.suspects,
        shards=[_shard(report) for report in parts.store.shards[:MAX_SHARDS]],
    )


def _shard(report: ShardReport) -> ShardSummary:
    return ShardSummary(
        shard=report.shard,
        master=report.master,
        lag_seconds=None if report.age_s is None else round(report.age_s, 3),
        breaker=report.breaker.value,
        writes_waiting=report.writes_waiting,
        problem=report.problem[:MAX_REASON],
    )


def counts(catalog: Catalog) -> ServiceCounts:
    """Return how many services and instances there are, by status."""
    by_status: Counter[str] = Counter()
    usable: dict[str, bool] = {}
    for instance in catalog:
        by_status[instance.status.value] += 1
        usable[instance.service_name] = usable.get(instance.service_name, False) or instance.status in _USABLE
    unusable = sorted(name for name, is_usable in usable.items() if not is_usable)
    return ServiceCounts(
        services=len(usable),
        usable=len(usable) - len(unusable),
        unusable=unusable[:MAX_NAMED],
        instances=len(catalog),
        by_status=dict(sorted(by_status.items())),
    )


def deployment_view(
    replicas: Sequence[ReplicaSummary], silent: Sequence[str], services: ServiceCounts, *, at: str
) -> DeploymentView:
    """Return the state of the deployment of these replicas; `silent` are the addresses at which none answers."""
    reasons = [f"no replica answers at {url}" for url in silent[:MAX_NAMED]]
    reasons += (f"{one.url or 'this replica'}: {reason}" for one in replicas for reason in one.reasons)
    below = flat(follower for one in replicas for follower in one.followers)
    reasons += (f"follower {_named(one)}: {reason}" for one in below[:MAX_NAMED] for reason in one.reasons)
    shards = _shards(replicas)
    reasons += (f"shard {one.shard}: {one.problem}" for one in shards if one.problem.startswith(_DISAGREE))
    status = worst(
        *(_health(one) for one in replicas),
        Health.DEGRADED if silent or any(_health(one) is not Health.HEALTHY for one in below) else Health.HEALTHY,
    )
    versions = sorted({one.version for one in (*replicas, *below)})
    if len(versions) > 1:
        reasons.append(f"the replicas are of several releases: {', '.join(v or 'an earlier one' for v in versions)}")
    return DeploymentView(
        status=status.value,
        reasons=reasons,
        timestamp=at,
        replicas=sorted(replicas, key=lambda one: (one.zone, one.url, one.id)),
        silent=list(silent),
        shards=shards,
        services=services,
        guard=_worst((one.guard for one in replicas), _GUARDS),
        suspects=max((one.suspects for one in replicas), default=0),
    )


def seen_below(above: DeploymentView, own: ReplicaSummary) -> DeploymentView:
    """Return what a follower answers: the whole as the registry says it, with itself if that does not know it."""
    known = {one.id for one in flat(above.replicas)}
    if own.id in known:
        return above
    return msgspec.structs.replace(
        above,
        replicas=[*above.replicas, own],
        reasons=[*above.reasons, f"follower {own.id}, which answers this, is not among those that the registry knows"],
    )


def _named(follower: ReplicaSummary) -> str:
    return " ".join(filter(None, (follower.id, follower.zone, follower.address)))


def _health(replica: ReplicaSummary) -> Health:
    # A later release may know a further status.
    return Health(replica.status) if replica.status in set(Health) else Health.DEGRADED


def _worst(states: Iterable[str], order: Sequence[str]) -> str:
    return max(states, key=lambda state: order.index(state) if state in order else len(order))


def _shards(replicas: Iterable[ReplicaSummary]) -> list[ShardSummary]:
    seen: dict[str, list[ShardSummary]] = {}
    for replica in replicas:
        for one in replica.shards:
            seen.setdefault(one.shard, []).append(one)
    return [_together(views) for _, views in sorted(seen.items())]


def _together(views: Sequence[ShardSummary]) -> ShardSummary:
    masters = sorted({one.master for one in views if one.master})
    lags = [one.lag_seconds for one in views]
    known = [lag for lag in lags if lag is not None]
    problem = next((one.problem for one in views if one.problem), "")
    return ShardSummary(
        shard=views[0].shard,
        master=", ".join(masters),
        lag_seconds=max(known) if len(known) == len(lags) else None,
        breaker=_worst((one.breaker for one in views), _BREAKERS),
        writes_waiting=sum(one.writes_waiting for one in views),
        problem=f"{_DISAGREE}: {', '.join(masters)}" if len(masters) > 1 else problem,
    )
