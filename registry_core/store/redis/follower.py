"""The follower of one shard: reads its stream, and hands what it tells to the store, in order.

It begins with everything, goes on with events, and begins again when its place in the history is gone:
another epoch, or events that were trimmed away. Who waits for a revision is woken when it has been told.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
from typing import Any, Final, Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from registry_core.domain.catalog import Lived
from registry_core.domain.events import Deregistered, Event, Expired, Position, Registered, Renewed
from registry_core.domain.records import InstanceKey
from registry_core.errors import StoreUnavailable
from registry_core.ports import Clock
from registry_core.store.redis import rows, scripts
from registry_core.store.redis.ending import end
from registry_core.store.redis.failures import words_of
from registry_core.store.redis.masters import Masters
from registry_core.store.redis.probes import fault_of
from registry_core.store.redis.scripts import Name

BLOCK_S: Final = 1.0
READ_EVENTS: Final = 1000
RENEWALS_EVERY_S: Final = 5.0
RETRY_S: Final = 0.05
# What goes wrong again and again, though the master is there, is not tried twenty times a second.
RETRY_MOST_S: Final = 1.0
SAY_AGAIN_S: Final = 30.0
# For one answer of the server; a snapshot has longer, since it grows with the shard.
ANSWER_S: Final = 5.0
SNAPSHOT_S: Final = 30.0
REACH_S: Final = 1.0

_log = structlog.get_logger(component="store.redis")


class ForeignKeys(StoreUnavailable):
    """Raised when the prefix holds keys of another program; nothing of them was touched."""


class ShardFeed(Protocol):
    """Where the follower of a shard delivers."""

    def shard_reset(self, shard: int, position: Position, instances: list[Lived], *, born_empty: bool) -> None:
        """All that the shard holds; `born_empty` when its server came up without any memory."""
        ...

    def shard_events(self, events: list[Event]) -> None:
        """What happened since."""
        ...


class Follower:
    """Follows one shard for as long as it runs."""

    def __init__(
        self, shard: int, masters: Masters, prefix: str, feed: ShardFeed, clock: Clock, *, unknown_s: float
    ) -> None:
        """`unknown_s`: how long after an empty start of the server who is missing may be alive."""
        self._shard = shard
        self._unknown_s = unknown_s
        self._masters = masters
        self._prefix = prefix
        self._feed = feed
        self._clock = clock
        self._position = Position(shard, "", 0)
        self._heard_ms: dict[InstanceKey, int] = {}
        self._renewals_ms = 0
        self._renewals_at = -math.inf
        self._confirmed_at = -math.inf
        self._told = asyncio.Condition()
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self.fault = ""  # why the shard cannot be read, when somebody has to change a setting for it
        self._said: tuple[str, float] = ("", -math.inf)
        masters.subscribe(self._moved.set)

    @property
    def position(self) -> Position:
        return self._position

    def age_s(self) -> float:
        """Seconds since the server last confirmed that everything was delivered; infinite before that."""
        return self._clock.monotonic() - self._confirmed_at

    def start(self) -> None:
        """Begin to follow."""
        self._task = asyncio.ensure_future(self._run())

    async def close(self) -> None:
        """Stop. Safe to call twice."""
        await end([self._task])

    async def settled(self, most_s: float) -> None:
        """Return when everything was read, or it is known why it cannot be; after `most_s` anyway."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._settled.wait()

    async def reached(self, epoch: str, revision: int) -> None:
        """Return when that revision has been delivered, or another epoch has begun; after a second anyway."""

        def there() -> bool:
            return self._position.epoch != epoch or self._position.revision >= revision

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REACH_S), self._told:
                await self._told.wait_for(there)

    def heard(self, key: InstanceKey, at_ms: int) -> None:
        """A lease was renewed through this store: deliver it, and not once more when it is read."""
        self._heard_ms[key] = at_ms
        self._feed.shard_events([Renewed(self._position, key, at_ms / 1000)])

    # -- following

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                self._moved.clear()
                client = await self._masters.current()
                await self._follow(client)
                failures = 0
            except ForeignKeys as error:
                failures += 1
                self._give_up(str(error))
            except StoreUnavailable:
                failures = 0
            except Exception as error:  # noqa: BLE001 - the top of the loop: whatever it was, following goes on
                failures += 1
                fault = fault_of(error)
                if fault.lasting and isinstance(error, ResponseError):
                    self._give_up(f"{self._masters.name}: redis {self._masters.address}: {fault.reason}")
                else:
                    self._say("follower_interrupted", f"{type(error).__name__}: {words_of(error)}")
            pause_s = min(RETRY_S * 2 ** min(failures, 10), RETRY_MOST_S) if failures else RETRY_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._moved.wait()

    def _give_up(self, fault: str) -> None:
        """Tell what nobody but an operator can mend. It is tried again all the same, at a calm pace."""
        self.fault = fault
        self._say("shard_unusable", fault)
        self._settled.set()

    def _say(self, event: str, because: str) -> None:
        """Log what goes wrong: at once when it is something else than before, else every now and then."""
        now = self._clock.monotonic()
        said, at = self._said
        if because != said or now - at >= SAY_AGAIN_S:
            self._said = (because, now)
            _log.warning(event, shard=self._masters.name, because=because)

    async def _follow(self, client: Redis) -> None:
        async with asyncio.timeout(ANSWER_S):
            epoch, _revision, born_empty = await self._open(client)
        if epoch != self._position.epoch:
            await self._read_all(client, born_empty=born_empty)
        missing = False  # whether the last look showed events that reading did not bring
        while not self._moved.is_set():
            after = f"{self._position.revision}-0"
            async with asyncio.timeout(BLOCK_S + ANSWER_S):
                read: Any = await client.xread(
                    {f"{self._prefix}:events": after}, count=READ_EVENTS, block=int(BLOCK_S * 1000)
                )
            if read:
                entries: list[tuple[bytes, dict[bytes, bytes]]] = read[0][1]
                await self._deliver(client, entries)
                missing = False
            else:
                async with asyncio.timeout(ANSWER_S):
                    found: Any = await client.hmget(f"{self._prefix}:meta", ["epoch", "revision"])
                if found[0] is None or found[0].decode() != self._position.epoch:
                    return  # another life of the shard: begin again
                revision = int(found[1])
                # One may have come just now; but what is missing twice, or is taken back, is not ours to wait for.
                if revision < self._position.revision or (missing and revision > self._position.revision):
                    await self._catch_up(client)
                missing = revision > self._position.revision
            self._confirmed_at, self.fault = self._clock.monotonic(), ""
            if self._confirmed_at - self._renewals_at >= RENEWALS_EVERY_S:
                self._renewals_at = self._confirmed_at
                async with asyncio.timeout(ANSWER_S):
                    await self._read_renewals(client)

    async def _open(self, client: Redis) -> tuple[str, int, bool]:
        run_id = self._masters.run_id
        result = await scripts.run(
            client, Name.OPEN, self._prefix, run_id, secrets.token_hex(8), str(int(self._unknown_s * 1000))
        )
        if result[0] == b"foreign":
            key = result[1].decode(errors="replace")
            raise ForeignKeys(f"{self._masters.name}: {key} is a key of another program: choose another prefix=")
        return result[1].decode(), int(result[2]), result[3] == b"1"

    async def _deliver(self, client: Redis, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
        first = int(entries[0][0].partition(b"-")[0])
        if first != self._position.revision + 1:
            await self._catch_up(client)
            return
        events = [rows.event_of(self._shard, self._position.epoch, id_, entry) for id_, entry in entries]
        for event in events:
            if isinstance(event, Registered):
                self._heard_ms[event.key] = int(event.heartbeat_at * 1000)
            elif isinstance(event, Deregistered | Expired):
                self._heard_ms.pop(event.key, None)
        self._feed.shard_events(events)
        await self._tell(events[-1].position)

    async def _catch_up(self, client: Redis) -> None:
        """Read everything: the events from here on are not all there any more."""
        _log.info("follower_behind", shard=self._masters.name, revision=self._position.revision)
        await self._read_all(client, born_empty=False)

    async def _read_all(self, client: Redis, *, born_empty: bool) -> None:
        # One transaction, so that records, leases and revision are of one moment.
        pipeline = client.pipeline(transaction=True)
        pipeline.hmget(f"{self._prefix}:meta", ["epoch", "revision"])
        pipeline.hgetall(f"{self._prefix}:records")
        pipeline.zrange(f"{self._prefix}:leases", 0, -1, withscores=True)
        pipeline.zrange(f"{self._prefix}:suspects", 0, -1, withscores=True)
        async with asyncio.timeout(SNAPSHOT_S):
            meta, records, leases, suspects = await pipeline.execute()
        if meta[0] is None:
            raise StoreUnavailable("the shard was emptied while it was read")
        heard_ms = {field: int(score) for field, score in (*leases, *suspects)}
        instances: list[Lived] = []
        # Decoding a large shard takes long enough to be felt by lookups: in parts, with turns for the others.
        for number, (field, value) in enumerate(records.items()):
            instances.append(Lived(rows.instance_of(value), heard_ms.get(field, 0) / 1000))
            if number % 500 == 499:
                await asyncio.sleep(0)
        self._heard_ms = {rows.key_of(field): at for field, at in heard_ms.items()}
        self._renewals_ms = max(heard_ms.values(), default=0)
        position = Position(self._shard, meta[0].decode(), int(meta[1]))
        self._feed.shard_reset(self._shard, position, instances, born_empty=born_empty)
        self._confirmed_at = self._clock.monotonic()
        self._settled.set()
        await self._tell(position)

    async def _read_renewals(self, client: Redis) -> None:
        found: Any = await client.zrangebyscore(f"{self._prefix}:leases", self._renewals_ms, "+inf", withscores=True)
        renewed: list[Event] = []
        for field, score in found:
            key, at_ms = rows.key_of(field), int(score)
            self._renewals_ms = max(self._renewals_ms, at_ms)
            if self._heard_ms.get(key, 0) < at_ms:
                self._heard_ms[key] = at_ms
                renewed.append(Renewed(self._position, key, at_ms / 1000))
        if renewed:
            self._feed.shard_events(renewed)

    async def _tell(self, position: Position) -> None:
        self._position = position
        async with self._told:
            self._told.notify_all()
