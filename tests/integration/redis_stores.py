"""Redis stores for tests: over their own servers, with a feed that records what they deliver."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

from redis.asyncio import Redis

from registry_core.domain.leases import LeaseTerms
from registry_core.ports.clock import SystemClock
from registry_core.store.redis.store import RedisStore
from registry_core.store.redis.url import ServerAddress
from registry_core.store.redis.watcher import MasterWatcher
from registry_core.store.redis.writes import QueueTerms
from tests.contract.harness import RecordingFeed
from tests.redis_topology import RedisServer

QUICK = QueueTerms(operation_s=1.5, wait_s=0.1, retries_s=(0.2,))


@contextlib.asynccontextmanager
async def running_store(
    *servers: RedisServer,
    names: tuple[str, ...] = ("main",),
    replicas: int = 0,
    terms: QueueTerms = QUICK,
    feed: RecordingFeed | None = None,
) -> AsyncIterator[tuple[RedisStore, RecordingFeed]]:
    """Run a store over `servers`, with a feed that records what it delivers."""
    feed = feed if feed is not None else RecordingFeed()
    masters = [
        MasterWatcher(n, nodes=[ServerAddress("127.0.0.1", s.port)]) for s, n in zip(servers, names, strict=True)
    ]
    store = RedisStore(
        masters,
        prefix="test",
        replicas=replicas,
        terms=LeaseTerms(),
        clock=SystemClock(),
        random=random.Random(1),
        queue_terms=terms,
    )
    await store.start(feed)
    try:
        yield store, feed
    finally:
        async with asyncio.timeout(20):
            await store.close()


@contextlib.asynccontextmanager
async def asked(server: RedisServer) -> AsyncIterator[Redis]:
    """Yield a separate client, for what only an operator or a fault does."""
    client = Redis(port=server.port)
    try:
        yield client
    finally:
        await client.aclose()
