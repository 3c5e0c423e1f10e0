"""Builds where a replica has its data from: its own memory, Redis, or another registry.

What only one of them needs is loaded only where it is used.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from registry_core.api.hub import WatchHub
from registry_core.api.view import ReplicaView, store_age
from registry_core.domain.selection import Random
from registry_core.errors import MissingPackage
from registry_core.ports.clock import Clock
from registry_core.ports.store import Store
from registry_core.replica_settings import ReplicaSettings
from registry_core.store.memory import MemoryStore
from registry_core.supervision import Background
from registry_core.telemetry.metrics import ReplicaMetrics

if TYPE_CHECKING:  # a replica with a store of its own does not load it
    from registry_core.follow.follower import FollowingParts


class ReplicaSource(NamedTuple):
    """Where a replica has its data from, the view of it, and what else it has when that is another registry."""

    store: Store
    view: ReplicaView
    follower: FollowingParts | None


def source_of(
    settings: ReplicaSettings,
    clock: Clock,
    random: Random,
    metrics: ReplicaMetrics,
    background: Background,
    *,
    hub: Callable[[], WatchHub],
) -> ReplicaSource:
    """Return what the settings name; `hub` returns that of the replica. Raises MissingPackage as `store_of` does."""
    if settings.follow.urls:
        from registry_core.follow.follower import FollowingParts  # noqa: PLC0415 - only a follower needs it

        follower = FollowingParts(
            settings.follow,
            settings.client_tls,
            hub=hub,
            zone=settings.zone,
            ttl_s=settings.terms.ttl_s,
            clock=clock,
            random=random,
            background=background,
        )
        return ReplicaSource(follower.store, follower.view, follower)
    store = store_of(settings, clock, random, metrics, background)
    view = ReplicaView(
        clock,
        ttl_s=settings.terms.ttl_s,
        warming_s=settings.warming_s,
        store_age_s=store.age_s,
        store=lambda: store_age(store.shards()),
    )
    return ReplicaSource(store, view, None)


def store_of(
    settings: ReplicaSettings, clock: Clock, random: Random, metrics: ReplicaMetrics, background: Background
) -> Store:
    """Return the store that the settings name. Raises MissingPackage when its library is not installed."""
    if settings.redis is None:
        return MemoryStore(clock, settings.terms, secrets.token_hex(8), random)
    # A replica with the memory store does not load redis-py, which saves memory and need not be installed.
    try:
        from registry_core.store.redis.masters import masters_of  # noqa: PLC0415 - it loads redis-py
        from registry_core.store.redis.store import RedisStore  # noqa: PLC0415 - it loads redis-py
        from registry_core.store.redis.writes import QueueTerms  # noqa: PLC0415 - it loads redis-py
    except ModuleNotFoundError as error:
        raise MissingPackage(
            f"REGISTRY_STORE needs the Python package {error.name}, which is not installed: install Vértice with its "
            "extra `registry`, or pip install 'redis[hiredis]>=8'"
        ) from None

    return RedisStore(
        masters_of(settings.redis, clock, background),
        prefix=settings.redis.prefix,
        replicas=settings.redis.replicas,
        joining=settings.redis.joining,
        terms=settings.terms,
        clock=clock,
        random=random,
        queue_terms=QueueTerms(
            operation_s=settings.redis_timeout_s, retries_s=settings.redis_retries_s, breaker=settings.breaker
        ),
        observe=metrics.pipeline,
        background=background,
    )
