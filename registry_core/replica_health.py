"""The health of one replica as a whole: collects what its parts report, and has it judged."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from msgspec import UNSET

from registry_core.api.follow_health import follow_problem
from registry_core.api.guard_report import GUARD_HEALTH, guard_view
from registry_core.api.health import Health, breaker_health, judged, judged_rate, of_shards, redis_health, worst
from registry_core.api.health_reasons import health_reasons
from registry_core.api.health_schemas import (
    AccessHealth,
    CacheHealth,
    ComponentsHealth,
    FollowersHealth,
    FollowHealth,
    GuardView,
    HealthView,
    PeersHealth,
    StoreHealth,
    SystemHealth,
    WatchHealth,
)
from registry_core.api.health_settings import HealthLimits
from registry_core.api.peer_watch import PeerWatch, health_of_peers
from registry_core.api.view import ReplicaView
from registry_core.api.view_measures import ViewMeasures
from registry_core.api.write_access import WriteAccess
from registry_core.ports.audit import AuditReport, AuditTrail
from registry_core.ports.clock import Clock
from registry_core.ports.reports import ShardReport
from registry_core.ports.store import Store
from registry_core.security.certificate_health import CertificateHealth
from registry_core.supervision import Background
from registry_core.telemetry.system import SystemSampler

# A store that has not been swept for this long may still show instances that are gone.
SWEEP_OVERDUE_S: Final = 10.0
BYTES_PER_MB: Final = 1_000_000
# The kind of a follower's store.
UPSTREAM: Final = "upstream"


class ReplicaHealth:
    """The health of one replica. It measures the time since `begin`, and since the last sweep."""

    def __init__(
        self,
        store: Store,
        view: ReplicaView,
        measures: ViewMeasures,
        access: WriteAccess,
        *,
        sampler: SystemSampler,
        background: Background,
        limits: HealthLimits,
        audit: AuditTrail,
        peers: PeerWatch,
        watchers: Callable[[], int],
        tls: Callable[[], CertificateHealth | None] = lambda: None,
        authority_problem: Callable[[], str] = lambda: "",
        store_kind: str,
        clock: Clock,
        follow: Callable[[], FollowHealth | None] = lambda: None,
        followers: Callable[[], FollowersHealth | None] = lambda: None,
    ) -> None:
        """`follow` returns what a follower follows; `followers` those that report to this replica, if any do."""
        self._follow = follow
        self._followers = followers
        self._store = store
        self._view = view
        self._measures = measures
        self._limits = limits
        self._access = access
        self._sampler = sampler
        self._background = background
        self._audit = audit
        self._peers = peers
        self._watchers = watchers
        self._tls = tls
        self._authority_problem = authority_problem
        self._store_kind = store_kind
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Note that the replica starts now."""
        self._started_at = self._swept_at = self._clock.monotonic()

    def swept(self) -> None:
        """Note that every shard was swept."""
        self._swept_at = self._clock.monotonic()

    def status(self) -> Health:
        """Return whether the replica is healthy at this moment, and nothing else."""
        return self._status(self._facts())

    def view(self) -> HealthView:
        """Return the health at this moment."""
        facts, now, hit_rate = self._facts(), self._clock.monotonic(), self._measures.hit_rate
        shards, guard, tls, peers = facts.shards, facts.guard, facts.tls, facts.peers
        age_s, oldest_s = self._view.store_age_s(), self._view.oldest_age_s()
        return HealthView(
            status=self._status(facts).value,
            reasons=health_reasons(
                limits=self._limits,
                cpu=facts.cpu,
                memory=facts.memory,
                hit_percent=facts.hit_percent,
                swept_late_s=facts.swept_late_s,
                shards=shards,
                guard=guard,
                access=facts.access,
                audit=facts.audit,
                tls_problem=tls.problem if tls is not None else "",
                peers=peers,
                authority=facts.authority,
                follow=follow_problem(facts.follow),
                followers=facts.followers,
            ),
            timestamp=datetime.fromtimestamp(self._clock.wall(), UTC).isoformat(),
            uptime_seconds=round(now - self._started_at, 3),
            state=self._view.state.value,
            active_services=self._view.catalog.service_count,
            instances=len(self._view.catalog),
            components=ComponentsHealth(
                store=StoreHealth(
                    kind=self._store_kind,
                    status="ok" if self._stored(facts) is Health.HEALTHY else "failing",
                    last_sweep_age_s=round(now - self._swept_at, 3),
                    shards=shards,
                ),
                redis=redis_health(shards, self._limits) if shards else UNSET,
                circuit_breaker=breaker_health(shards) if shards else UNSET,
                guard=guard,
                cache=CacheHealth(
                    size=len(self._view.catalog),
                    services=self._view.catalog.service_count,
                    age_s=round(age_s, 3) if math.isfinite(age_s) else None,
                    hit_rate=None if hit_rate is None else round(hit_rate, 4),
                    memory_mb=round(self._measures.bytes / BYTES_PER_MB, 3),
                    oldest_entry_age_s=None if oldest_s is None else round(oldest_s, 3),
                ),
                system=SystemHealth(cpu_percent=facts.cpu, memory_percent=facts.memory, tasks=len(asyncio.all_tasks())),
                watch=WatchHealth(watchers=self._watchers()),
                access=facts.access,
                audit=facts.audit,
                tls=tls if tls is not None else UNSET,
                peers=peers if peers.known else UNSET,
                follow=facts.follow if facts.follow is not None else UNSET,
                followers=facts.followers if facts.followers is not None else UNSET,
                background=self._background.report(),
            ),
        )

    def _facts(self) -> _Facts:
        sample, hit_rate, access = self._sampler.latest, self._measures.hit_rate, self._access.report()
        sweep_age_s = self._clock.monotonic() - self._swept_at
        # The one that a follower follows sweeps.
        is_late = self._store_kind != UPSTREAM and sweep_age_s > SWEEP_OVERDUE_S and _accepts(access) is Health.HEALTHY
        return _Facts(
            cpu=round(self._sampler.average_cpu_percent, 1) if sample is not None else None,
            memory=sample.machine_memory_percent if sample is not None else None,
            hit_percent=None if hit_rate is None else hit_rate * 100,
            swept_late_s=sweep_age_s if is_late else None,
            shards=self._store.shards(),
            guard=guard_view(self._store.guards()),
            access=access,
            audit=self._audit.report(),
            tls=self._tls(),
            peers=self._peers.report(),
            authority=self._authority_problem(),
            follow=self._follow(),
            followers=self._followers(),
        )

    def _status(self, facts: _Facts) -> Health:
        limits = self._limits
        return worst(
            _degraded_if(facts.tls is not None and bool(facts.tls.problem)),
            judged(facts.cpu, limits.cpu),
            judged(facts.memory, limits.memory),
            judged_rate(facts.hit_percent, limits.hit_rate),
            self._stored(facts),
            GUARD_HEALTH[facts.guard.phase],
            _accepts(facts.access),
            _degraded_if(facts.audit.status not in ("off", "ok")),
            health_of_peers(facts.peers),
            _degraded_if(bool(facts.authority)),
            _degraded_if(bool(follow_problem(facts.follow))),
            _degraded_if(facts.followers is not None and bool(facts.followers.silent)),
        )

    def _stored(self, facts: _Facts) -> Health:
        return worst(_degraded_if(facts.swept_late_s is not None), of_shards(facts.shards, self._limits))


class _Facts(NamedTuple):
    """What the parts of a replica report at one moment."""

    cpu: float | None
    memory: float | None
    hit_percent: float | None
    swept_late_s: float | None  # since the last sweep if that is too long ago
    shards: tuple[ShardReport, ...]
    guard: GuardView
    access: AccessHealth
    audit: AuditReport
    tls: CertificateHealth | None
    peers: PeersHealth
    authority: str
    follow: FollowHealth | None
    followers: FollowersHealth | None


def _degraded_if(ill: bool) -> Health:
    return Health.DEGRADED if ill else Health.HEALTHY


def _accepts(access: AccessHealth) -> Health:
    return _degraded_if(access.status != "ok" or bool(access.secrets.problem))
