"""Builds the watchers of a store's masters from the settings, one for each shard."""

from __future__ import annotations

from registry_core.ports.clock import Clock
from registry_core.store.redis.url import ONLY_SHARD, RedisSettings
from registry_core.store.redis.watcher import MasterWatcher
from registry_core.supervision import Background


def masters_of(
    settings: RedisSettings, clock: Clock | None = None, background: Background | None = None
) -> tuple[MasterWatcher, ...]:
    """Return a watcher for every shard, not yet started."""
    nodes = () if settings.server is None else (settings.server,)
    return tuple(
        MasterWatcher(
            name,
            access=settings.access,
            nodes=nodes,
            sentinels=settings.sentinels,
            sentinel_access=settings.sentinel_access,
            hasten=settings.hasten,
            pool=settings.pool,
            clock=clock,
            background=background,
        )
        for name in (settings.masters if settings.server is None else (ONLY_SHARD,))
    )
