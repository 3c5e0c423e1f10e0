"""The Redis store under test: a real Redis, whose scripts get the time from the test.

The server's own clock cannot be moved from outside, and the product has no hook for tests. The scripts' time lies a
month back, so that deadlines for writes, which the store takes from the server's clock, lie ahead of it.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from pathlib import Path
from typing import Final

import redis

from registry_core.ports.clock import SystemClock
from registry_core.ports.store import Store
from registry_core.store.redis.store import RedisStore
from registry_core.store.redis.url import ServerAddress
from registry_core.store.redis.watcher import MasterWatcher
from tests.contract.harness import TERMS, RecordingFeed
from tests.contract.told_clock import IN_A_KEY, stores_are_told
from tests.redis_topology import RedisServer

PREFIX: Final = "contract"
_MONTH_S: Final = 30 * 86_400


class RedisUnderTest:
    """One store on its own server."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vertice-contract-")
        self._server = RedisServer(Path(self._folder.name) / "redis", [])
        self._server.start()
        self.port = self._server.port
        self._client = redis.Redis(port=self.port)
        self._told_ms = (int(time.time()) - _MONTH_S) * 1000
        self._tell()
        self._telling = contextlib.ExitStack()
        self._telling.enter_context(stores_are_told(IN_A_KEY))
        self.feed = RecordingFeed()
        self.store: Store = RedisStore(
            [MasterWatcher("main", nodes=[ServerAddress("127.0.0.1", self.port)])],
            prefix=PREFIX,
            replicas=0,
            terms=TERMS,
            clock=SystemClock(),
            random=random.Random(1),
        )

    async def start(self) -> None:
        await self.store.start(self.feed)

    async def close(self) -> None:
        await self.store.close()
        self._telling.close()
        self._client.close()
        self._server.stop()
        self._folder.cleanup()

    async def pass_time(self, seconds: float, *, sweeping: bool = True) -> None:
        left = seconds
        while sweeping and left >= TERMS.sweep_every_s:
            self._pass(TERMS.sweep_every_s)
            left -= TERMS.sweep_every_s
            await self.store.sweep()
        self._pass(left)

    def _pass(self, seconds: float) -> None:
        self._told_ms += round(seconds * 1000)
        self._tell()

    def _tell(self) -> None:
        self._client.set(f"{PREFIX}:told", self._told_ms)
