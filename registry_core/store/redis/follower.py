"""The follower of one shard: reads its stream, and hands what it tells to the store, in order.

It begins with everything, goes on with events, and begins again when its place in the history is gone:
another epoch, or events that were trimmed away. Who waits for a revision is woken when it has been told.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
from collections import deque
from typing import Any, Final, Protocol

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from registry_core.domain.events import Event, Position, Renewed
from registry_core.domain.records import InstanceKey
from registry_core.errors import StoreUnavailable
from registry_core.ports import Clock
from registry_core.store.redis import rows, scripts
from registry_core.store.redis.ending import end
from registry_core.store.redis.failures import words_of
from registry_core.store.redis.held import Held
from registry_core.store.redis.masters import Masters
from registry_core.store.redis.probes import fault_of
from registry_core.store.redis.reading import read_whole
from registry_core.store.redis.scripts import Name

BLOCK_S: Final = 1.0
READ_EVENTS: Final = 500
# Each is told to every watcher: with a thousand of them, these take some 10 ms.
DELIVERED_AT_ONCE: Final = 50
READ_RENEWALS: Final = 500
RENEWALS_EVERY_S: Final = 5.0
RETRY_S: Final = 0.05
# What goes wrong again and again, though the master is there, is not tried twenty times a second.
RETRY_MOST_S: Final = 1.0
SAY_AGAIN_S: Final = 30.0
# For one answer of the server; reading everything has longer, since it grows with the shard.
ANSWER_S: Final = 5.0
SNAPSHOT_S: Final = 120.0
# A write may have been taken by the last master just before the end, and is told by the next one only:
# longer than a failover takes.
REACH_S: Final = 3.0
REMEMBERED_EPOCHS: Final = 16

_log = structlog.get_logger(component="store.redis")


class ForeignKeys(StoreUnavailable):
    """Raised when the prefix holds keys of another program; nothing of them was touched."""


class ShardFeed(Protocol):
    """Where the follower of a shard delivers."""

    @property
    def needs_addresses(self) -> bool:
        """Whether what is read is to be found by its address."""
        ...

    async def shard_read(self, shard: int, position: Position, held: Held, *, born_empty: bool) -> None:
        """All that the shard holds; `born_empty` when its server came up without any memory.

        Returns when it has been delivered.
        """
        ...

    def shard_events(self, events: list[Event]) -> None:
        """What happened since."""
        ...

    def heard_at(self, shard: int, key: InstanceKey) -> float:
        """When that instance was last heard of, as far as it was delivered; Unix seconds."""
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
        self._epochs_before: deque[str] = deque(maxlen=REMEMBERED_EPOCHS)
        self._renewals_ms = 0
        self._renewals_at = -math.inf
        self._confirmed_at = -math.inf
        self._awaited: dict[asyncio.Future[None], tuple[str, int]] = {}  # who waits for which epoch and revision
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
        """Return when that revision has been delivered, or a later epoch; after REACH_S anyway."""
        if self._has_told(epoch, revision):
            return
        # One future for each write, since a condition would wake all of them for each batch that is told.
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()
        self._awaited[told] = (epoch, revision)
        patience = loop.call_later(REACH_S, _resolve, told)
        try:
            await told
        finally:
            patience.cancel()
            del self._awaited[told]

    def _has_told(self, epoch: str, revision: int) -> bool:
        # An epoch that is not this one may be one that the follower has still to read.
        if self._position.epoch == epoch:
            return self._position.revision >= revision
        return epoch in self._epochs_before

    def heard(self, key: InstanceKey, at_ms: int) -> None:
        """A lease was renewed through this store: deliver it, and not once more when it is read."""
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
        for start in range(0, len(events), DELIVERED_AT_ONCE):
            part = events[start : start + DELIVERED_AT_ONCE]
            self._feed.shard_events(part)
            self._tell(part[-1].position)
            await asyncio.sleep(0)

    async def _catch_up(self, client: Redis) -> None:
        """Read everything: the events from here on are not all there any more."""
        _log.info("follower_behind", shard=self._masters.name, revision=self._position.revision)
        await self._read_all(client, born_empty=False)

    async def _read_all(self, client: Redis, *, born_empty: bool) -> None:
        async with asyncio.timeout(SNAPSHOT_S):
            whole = await read_whole(client, self._prefix, self._shard, addresses=self._feed.needs_addresses)
        # Leases that were renewed while the records were read are read again.
        self._renewals_ms = whole.began_ms
        await self._feed.shard_read(self._shard, whole.position, whole.held, born_empty=born_empty)
        self._confirmed_at = self._clock.monotonic()
        self._settled.set()
        self._tell(whole.position)

    async def _read_renewals(self, client: Redis) -> None:
        """Deliver the leases that were renewed since the last time, whoever took the heartbeats."""
        last = b""  # only within this: a renewal of the same millisecond may come yet, and stand before it
        while True:
            async with asyncio.timeout(ANSWER_S):
                found = await scripts.call(
                    client, Name.RENEWALS, self._prefix, str(self._renewals_ms), last, str(READ_RENEWALS)
                )
            renewed: list[Event] = []
            for field, score in zip(found[::2], found[1::2], strict=True):
                key, at_s = rows.key_of(field), int(score) / 1000
                if 0.0 < self._feed.heard_at(self._shard, key) < at_s:
                    renewed.append(Renewed(self._position, key, at_s))
            if renewed:
                self._feed.shard_events(renewed)
            if len(found) < 2 * READ_RENEWALS:
                return
            last, self._renewals_ms = found[-2], int(found[-1])

    def _tell(self, position: Position) -> None:
        """Note that everything up to `position` was delivered, and wake who waits for it."""
        if position.epoch != self._position.epoch:
            self._epochs_before.append(self._position.epoch)
        self._position = position
        for told, awaited in self._awaited.items():
            if self._has_told(*awaited):
                _resolve(told)


def _resolve(told: asyncio.Future[None]) -> None:
    if not told.done():
        told.set_result(None)
