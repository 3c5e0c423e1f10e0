"""The Redis store under test: a real Redis, and time that passes by moving what it stored into the past.

The server's clock cannot be moved from outside, and the product has no hook for tests. So "ten seconds
pass" means that every time the server remembers is made ten seconds older; and what is delivered from then
on is shown to the feed ten seconds later.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import redis

from registry_core.domain.catalog import Lived
from registry_core.domain.events import Event, Registered, Renewed
from registry_core.ports.clock import SystemClock
from registry_core.ports.store import Snapshot, Store
from registry_core.store.redis.store import RedisStore
from registry_core.store.redis.url import ServerAddress
from registry_core.store.redis.watcher import MasterWatcher
from tests.contract.harness import TERMS, RecordingFeed
from tests.redis_topology import RedisServer

PREFIX: Final = "contract"
_AGE: Final = """
local P, by = ARGV[1], tonumber(ARGV[2])
for _, key in ipairs({P .. ':leases', P .. ':tombed'}) do
    local scores = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for at = 1, #scores, 2 do
        redis.call('ZADD', key, string.format('%.0f', tonumber(scores[at + 1]) - by), scores[at])
    end
end
local swept = redis.call('HGET', P .. ':meta', 'swept')
if swept then
    redis.call('HSET', P .. ':meta', 'swept', string.format('%.0f', tonumber(swept) - by))
end
return 1
"""


class LaterFeed(RecordingFeed):
    """A feed that lives `later_s` seconds after the server."""

    later_s = 0.0

    def reset(self, snapshot: Snapshot) -> None:
        shown = tuple(Lived(lived.instance, lived.heartbeat_at + self.later_s) for lived in snapshot.instances)
        super().reset(msgspec.structs.replace(snapshot, instances=shown))

    def apply(self, events: Sequence[Event]) -> None:
        super().apply([self._later(event) for event in events])

    def _later(self, event: Event) -> Event:
        if isinstance(event, Registered | Renewed):
            return msgspec.structs.replace(event, heartbeat_at=event.heartbeat_at + self.later_s)
        return event


class RedisUnderTest:
    """One store on a server of its own."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vertice-contract-")
        self._server = RedisServer(Path(self._folder.name) / "redis", [])
        self._server.start()
        self.port = self._server.port
        self._client = redis.Redis(port=self.port)
        self.later = LaterFeed()
        self.feed: RecordingFeed = self.later
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
        self._client.close()
        self._server.stop()
        self._folder.cleanup()

    async def pass_time(self, seconds: float, *, sweeping: bool = True) -> None:
        left = seconds
        while sweeping and left >= TERMS.sweep_every_s:
            self._age(TERMS.sweep_every_s)
            left -= TERMS.sweep_every_s
            await self.store.sweep()
        self._age(left)

    def _age(self, seconds: float) -> None:
        self.later.later_s += seconds
        self._client.eval(_AGE, 0, PREFIX, str(int(seconds * 1000)))
        meta = f"{PREFIX}:meta"
        guard, expiries = (msgspec.json.decode(v) if v else None for v in self._client.hmget(meta, "guard", "expiries"))
        if guard:
            for name in ("held_since", "released_at", "next_at"):
                if guard.get(name):
                    guard[name] -= seconds
            self._client.hset(meta, "guard", msgspec.json.encode(guard))
        if expiries:
            self._client.hset(meta, "expiries", msgspec.json.encode([(at - seconds, n) for at, n in expiries]))
