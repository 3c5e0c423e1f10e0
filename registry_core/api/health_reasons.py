"""The reasons why a replica is not healthy: one sentence for each part that is not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from registry_core.api.health import Health, judged, judged_rate, of_shard
from registry_core.api.health_schemas import AccessHealth, FollowersHealth, GuardView, PeersHealth
from registry_core.api.health_settings import HealthLimits
from registry_core.domain.guard import GuardPhase
from registry_core.ports.audit import AuditReport
from registry_core.ports.reports import ShardReport

# More shards share one sentence.
MAX_SHARDS_NAMED: Final = 8


def health_reasons(
    *,
    limits: HealthLimits,
    cpu: float | None,
    memory: float | None,
    hit_percent: float | None,
    swept_late_s: float | None,
    shards: Sequence[ShardReport],
    guard: GuardView,
    access: AccessHealth,
    audit: AuditReport,
    peers: PeersHealth,
    tls_problem: str = "",
    authority: str = "",
    follow: str = "",
    followers: FollowersHealth | None = None,
) -> list[str]:
    """Return the reasons, the most urgent first; none when every part is healthy.

    `swept_late_s` is the time since the last sweep if that is too long ago, else None.
    """
    return [
        *_of_access(access),
        *([follow] if follow else []),
        *([f"TLS: {tls_problem}"] if tls_problem else []),
        *_of_shards(shards, limits),
        *_of_audit(audit),
        *([] if swept_late_s is None else [f"the leases were last swept {swept_late_s:.0f} s ago"]),
        *(shard.reason for shard in guard.shards if shard.phase is not GuardPhase.CLEAR),
        *_of_peers(peers),
        *_of_followers(followers),
        *([authority] if authority else []),
        *_of_hits(hit_percent, limits),
        *_of_load("the processor", "of one core", cpu, judged(cpu, limits.cpu)),
        *_of_load("memory", "of this machine's", memory, judged(memory, limits.memory)),
    ]


def _of_access(access: AccessHealth) -> Iterable[str]:
    if access.status != "ok":
        yield (
            f"every write is refused ({access.refused_recently} lately): {access.last_refusal}. REGISTRY_SECRET and "
            "the token of the agents differ; until they agree, nothing expires and an empty registry is not ready"
        )
    if access.secrets.problem:
        yield f"a file of secrets is not in use as it is: {access.secrets.problem}"


def _of_audit(audit: AuditReport) -> Iterable[str]:
    if audit.status == "failing":
        yield f"the audit log cannot be written: {audit.problem} ({audit.waiting} entries wait, {audit.lost} are lost)"
    elif audit.status == "disputed":
        yield f"an audit log is not what it was: {audit.problem}"


def _of_peers(peers: PeersHealth) -> Iterable[str]:
    if peers.silent:
        yield f"{peers.silent} of {peers.known} replicas (REGISTRY_PEERS) do not answer: {', '.join(peers.silent_urls)}"


def _of_followers(followers: FollowersHealth | None) -> Iterable[str]:
    if followers is not None and followers.silent:
        yield f"followers of this replica have stopped reporting: {', '.join(followers.silent)}"


def _of_shards(shards: Sequence[ShardReport], limits: HealthLimits) -> Iterable[str]:
    ill = [shard for shard in shards if of_shard(shard, limits) is not Health.HEALTHY]
    for shard in ill[:MAX_SHARDS_NAMED]:
        yield f"shard {shard.shard!r}: {_of_shard(shard, limits)}"
    if len(ill) > MAX_SHARDS_NAMED:
        yield f"{len(ill) - MAX_SHARDS_NAMED} more shards are not healthy"


def _of_shard(shard: ShardReport, limits: HealthLimits) -> str:
    if shard.problem:
        return shard.problem
    if shard.set_aside:
        return f"{shard.set_aside} of its entries cannot be read"
    if shard.age_s is None:
        return "it has not been read yet"
    if shard.age_s <= limits.redis_silent_s and judged(shard.latency_ms, limits.redis_ms) is not Health.HEALTHY:
        return f"its Redis takes {shard.latency_ms:.0f} ms to answer"
    return f"it is slow or does not answer: last confirmed {shard.age_s:.0f} s ago, breaker {shard.breaker.value}"


def _of_hits(percent: float | None, limits: HealthLimits) -> Iterable[str]:
    if percent is not None and judged_rate(percent, limits.hit_rate) is not Health.HEALTHY:
        yield f"only {percent:.0f} % of the lookups of the last minute could be answered: the others were unknown"


def _of_load(what: str, of: str, percent: float | None, health: Health) -> Iterable[str]:
    if percent is not None and health is not Health.HEALTHY:
        yield f"{what}: {percent:.0f} % {of} is in use"
