"""The follower of one shard: reads its stream and delivers the events to the store, in order.

It reads the whole shard first, then follows its events. It reads the whole shard again when its cursor is no longer
valid: the epoch changed, or events were trimmed. Callers waiting for a revision are woken once it is delivered.

Entries written by other programs do not stop it. An entry that cannot be read is set aside, and its revision is
delivered as one that concerns no instance. An event of a later release is replaced by the record it led to.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import structlog
from redis.exceptions import ResponseError

from registry_core.domain.backoff import Backoff
from registry_core.domain.events import Deregistered, Event, Expired, Position, Registered, Renewed, StatusChanged
from registry_core.domain.records import Instance, InstanceKey
from registry_core.errors import StoreUnavailable
from registry_core.ports.clock import Clock
from registry_core.store.redis import rows
from registry_core.store.redis.arrivals import Arrivals
from registry_core.store.redis.failures import words_of
from registry_core.store.redis.journal import JOURNAL_S, Journal, Written
from registry_core.store.redis.link import Link
from registry_core.store.redis.lives import ForeignKeys, Lives
from registry_core.store.redis.pages import Whole, looked_up, one, read_whole, set_aside
from registry_core.store.redis.probes import fault_of
from registry_core.store.redis.recent_keys import RecentKeys
from registry_core.store.redis.rows import NOBODY, Order, StreamEntry, Unreadable
from registry_core.store.redis.scripts import ScriptName, called
from registry_core.store.redis.shard_feed import ShardFeed
from registry_core.store.redis.upkeep import Upkeep
from registry_core.store.redis.watcher import MasterWatcher
from registry_core.supervision import Background, end

BLOCK_S: Final = 1.0
READ_EVENTS: Final = 500
# Each event goes to every watcher: with a thousand watchers, these take some 10 ms.
DELIVERED_AT_ONCE: Final = 50
READ_RENEWALS: Final = 500
RENEWALS_EVERY_S: Final = 5.0
# A failure that repeats while the master is up is not retried twenty times a second.
RETRY: Final = Backoff(0.05, 1.0)
SAY_AGAIN_S: Final = 30.0
# Reading the whole shard takes longer than one answer of the server: it grows with the shard.
SNAPSHOT_S: Final = 120.0
# A lease renewed this far in the server's future was renewed before its clock was set back.
CLOCK_ERROR_S: Final = 1.0

_log = structlog.get_logger(component="store.redis")


class Follower:
    """Follows one shard for as long as it runs."""

    def __init__(
        self,
        shard: int,
        masters: MasterWatcher,
        lives: Lives,
        *,
        prefix: str,
        feed: ShardFeed,
        journal: Journal,
        clock: Clock,
        background: Background,
    ) -> None:
        self._shard = shard
        self._masters = masters
        self._lives = lives
        self._prefix = prefix
        self._feed = feed
        self._journal = journal
        self._clock = clock
        self._background = background
        self._upkeep = Upkeep(masters.name, prefix)
        self._position = Position(shard, "", 0)
        self._life = 0
        self._renewals_ms = 0
        self._renewals_at = -math.inf
        self._confirmed_at = -math.inf
        self.arrivals = Arrivals()
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self.fault = ""  # why the shard cannot be read, when only a changed setting helps
        self.interrupted = ""  # why following was last interrupted
        self.aside: dict[str, Unreadable] = {}  # entries that cannot be read, by their fields
        self.recent = RecentKeys()
        self._surplus = 0  # records beyond those delivered, at the last full read
        self._said: tuple[str, float] = ("", -math.inf)
        masters.subscribe(self._moved.set)
        lives.subscribe(self._moved.set)

    @property
    def position(self) -> Position:
        return self._position

    def age_s(self) -> float:
        """Seconds since the server last confirmed that everything was delivered; infinite before that."""
        return self._clock.monotonic() - self._confirmed_at

    def start(self) -> None:
        """Begin to follow."""
        self._task = self._background.keep("redis follower", self._run)

    async def close(self) -> None:
        """Stop. Safe to call twice."""
        await end([self._task])

    async def settled(self, most_s: float) -> None:
        """Wait until the shard was read or is known to be unreadable, at most `most_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._settled.wait()

    def heard(self, keys: Iterable[InstanceKey], at_ms: int) -> None:
        """Deliver leases renewed through this store, and do not deliver them again when they are read."""
        position, at_s = self._position, at_ms / 1000
        self._feed.shard_events([Renewed(position, key, at_s) for key in keys])

    # -- following

    async def _run(self) -> None:
        failures = 0
        while True:
            link: Link | None = None
            try:
                self._moved.clear()
                opened = await self._lives.open()
                link = opened.link
                if self._lives.is_newest(link):
                    self._moved.clear()  # the life that just began may be this one
                await self._follow(link, born_empty=opened.born_empty)
                failures = 0
            except ForeignKeys as error:
                failures += 1
                self._give_up(str(error))
            except StoreUnavailable as error:
                failures = 0
                self.interrupted = str(error)
            except Exception as error:  # noqa: BLE001 - the top of the loop: following goes on after any failure
                failures += 1
                fault = fault_of(error)
                self.interrupted = fault.reason
                if fault.lasting and isinstance(error, ResponseError):
                    self._give_up(f"{self._masters.name}: redis {self._masters.address}: {fault.reason}")
                else:
                    self._say("follower_interrupted", f"{type(error).__name__}: {words_of(error)}")
            finally:
                if link is not None:
                    await link.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY.wait_s(1 + failures)):
                    await self._moved.wait()

    def _give_up(self, fault: str) -> None:
        """Report a fault that only an operator can fix. Following is retried anyway, at a slow pace."""
        self.fault = fault
        self._say("shard_unusable", fault)
        self._settled.set()

    def _say(self, event: str, because: str) -> None:
        """Log a failure: at once when it differs from the last one, else at intervals."""
        now = self._clock.monotonic()
        said, at = self._said
        if because != said or now - at >= SAY_AGAIN_S:
            self._said = (because, now)
            _log.warning(event, shard=self._masters.name, because=because)

    async def _follow(self, link: Link, *, born_empty: bool) -> None:
        """Follow one life of the shard while it is the newest. Raises what redis-py raises."""
        self._life = link.life.number
        if link.life.epoch != self._position.epoch:
            await self._read_all(link, born_empty=born_empty)
        missing = False  # whether the last check showed events that reading did not return
        block_ms = str(int(BLOCK_S * 1000))
        while self._lives.is_newest(link) and not self._moved.is_set():
            after = f"{self._position.revision}-0"
            read: Any = await one(
                link,
                ("XREAD", "COUNT", str(READ_EVENTS), "BLOCK", block_ms, "STREAMS", f"{self._prefix}:events", after),
            )
            if read:
                await self._deliver(link, read[0][1])
                missing = False
            else:
                found = await self._meta(link)
                if found is None or found[0] != self._position.epoch:
                    return  # another life of the shard: start again
                revision = found[1]
                # One event may have just arrived; one that is missing twice, or was taken back, will not come.
                if revision < self._position.revision or (missing and revision > self._position.revision):
                    await self._catch_up(link)
                missing = revision > self._position.revision
            self._confirmed_at, self.fault, self.interrupted = self._clock.monotonic(), "", ""
            if self._confirmed_at - self._renewals_at >= RENEWALS_EVERY_S:
                self._renewals_at = self._confirmed_at
                await self._read_renewals(link)
                await self._inspect(link)

    async def _meta(self, link: Link) -> tuple[str, int] | None:
        """Return the epoch and revision of the shard, or None when it was emptied."""
        epoch, revision = await one(link, ("HMGET", f"{self._prefix}:meta", "epoch", "revision"))
        return None if epoch is None or revision is None else (epoch.decode(), int(revision))

    # -- events

    async def _deliver(self, link: Link, read: list[tuple[bytes, list[bytes]]]) -> None:
        first = read[0][0]
        if first != b"%d-0" % (self._position.revision + 1):
            await self._mend_stream(link, [id_ for id_, _ in read])
            return
        events: list[Event] = []
        for id_, flat in read:
            if id_ != b"%d-0" % (self._position.revision + len(events) + 1):
                break  # the rest is handled at the start of the next read
            entry = rows.entry_of(self._shard, self._position.epoch, id_, rows.paired(flat))
            if isinstance(entry, StreamEntry) and entry.event is None:
                entry = await looked_up(link, self._prefix, self._shard, self._position.epoch, entry)
            events.append(self._taken(entry, self._position.revision + len(events) + 1))
        for start in range(0, len(events), DELIVERED_AT_ONCE):
            part = events[start : start + DELIVERED_AT_ONCE]
            self._feed.shard_events(part)
            self._tell(part[-1].position)
            await asyncio.sleep(0)

    def _taken(self, entry: StreamEntry | Unreadable, revision: int) -> Event:
        """Return the event to deliver for one entry, and note it in the journal."""
        if isinstance(entry, Unreadable):
            self._set_aside([entry])
            # Every revision is delivered, so that readers see that none is missing.
            self.recent.add(position := Position(self._shard, self._position.epoch, revision), None)
            return Deregistered(position, NOBODY)
        event = entry.event
        assert event is not None  # it was looked up
        self.recent.add(event.position, event.key)
        self.aside.pop(entry.field.decode(errors="replace"), None)
        self._remember(event, entry)
        return event

    def _remember(self, event: Event, entry: StreamEntry) -> None:
        now = self._clock.monotonic()
        order = entry.order if entry.order is not None else Order(self._life, event.position.revision)
        match event:
            case Expired(key=key):
                self._journal.forget(key)
            case Deregistered(key=key):
                self._journal.note(key, Written(order, None, entry.epoch), now)
            case Registered(instance=instance):
                if not instance.suspect:
                    self._journal.note(instance.key, Written(order, instance, instance.epoch), now)
            case StatusChanged(key=key, status=status):
                before = self._before(key)
                if before is not None and not before.suspect:
                    instance = msgspec.structs.replace(before, status=status)
                    self._journal.note(key, Written(order, instance, instance.epoch), now)

    def _before(self, key: InstanceKey) -> Instance | None:
        """Return an instance as it was before the event being read, or None when unknown."""
        known = self._journal.latest(key)
        return known.instance if known is not None else self._feed.instance(self._shard, key)

    async def _mend_stream(self, link: Link, ids: list[bytes]) -> None:
        """Remove these entries from the stream if they are foreign; else read the whole shard again."""
        found = await self._meta(link)
        if found is not None and not await self._upkeep.take_out_foreign_events(link, ids, found[1]):
            await self._catch_up(link)

    def _set_aside(self, entries: Iterable[Unreadable]) -> None:
        for entry in entries:
            if entry.field not in self.aside:
                set_aside(self.aside, entry)
                _log.warning("entry_set_aside", shard=self._masters.name, field=entry.field, because=entry.reason)

    # -- everything

    async def _catch_up(self, link: Link) -> None:
        """Read the whole shard: some of the events from here on are gone."""
        _log.info("follower_behind", shard=self._masters.name, revision=self._position.revision)
        await self._read_all(link, born_empty=False)

    async def _read_all(self, link: Link, *, born_empty: bool) -> None:
        """Read the whole shard, after putting back records that are missing without having been removed."""
        whole = await self._read_whole(link)
        lost = await self._upkeep.lost(link, self._feed.missing(self._shard, whole.records))
        if lost and not born_empty and self.age_s() < JOURNAL_S:
            instances = [self._feed.instance(self._shard, key) for key in lost]
            await self._upkeep.put_back(link, [instance for instance in instances if instance is not None])
            whole = await self._read_whole(link)
            lost = await self._upkeep.lost(link, self._feed.missing(self._shard, whole.records))
        # Leases renewed while the records were read are read again.
        self._renewals_ms = whole.began_ms
        known, self.aside = self.aside, {}
        for entry in whole.aside:
            if entry.field in known:
                self.aside[entry.field] = entry
        self._set_aside(whole.aside)
        await self.recent.read(link, self._prefix, whole.position)
        # A shard that came up empty but has everything delivered before counts as one that never was empty.
        born_empty = born_empty and (bool(lost) or not self._position.epoch)
        await self._feed.shard_read(self._shard, whole.position, whole.records, whole=not lost, born_empty=born_empty)
        self._confirmed_at = self._clock.monotonic()
        self._settled.set()
        self._tell(whole.position)

    async def _read_whole(self, link: Link) -> Whole:
        async with asyncio.timeout(SNAPSHOT_S):
            return await read_whole(link, self._prefix, self._shard)

    # -- leases, and the consistency of the keys

    async def _read_renewals(self, link: Link) -> None:
        """Deliver the leases renewed since the last time, by any replica."""
        last = b""  # only within this call: a later renewal of the same millisecond may sort before it
        while True:
            now_ms, *found = await one(
                link, called(ScriptName.RENEWALS, self._prefix, (str(self._renewals_ms), last, str(READ_RENEWALS)))
            )
            now_s = int(now_ms) / 1000
            if self._renewals_ms / 1000 > now_s + CLOCK_ERROR_S:
                # The server's clock was set back: later renewals sort before everything already read.
                self._renewals_ms, last = 0, b""
                continue
            renewed: list[Event] = []
            for field, score in zip(found[::2], found[1::2], strict=True):
                at_s = float(score) / 1000
                try:
                    key = rows.key_of(field)
                except ValueError:
                    continue
                heard_at = self._feed.heard_at(self._shard, key)
                if 0.0 < heard_at < at_s or heard_at > now_s + CLOCK_ERROR_S:
                    renewed.append(Renewed(self._position, key, at_s))
            if renewed:
                self._feed.shard_events(renewed)
            if len(found) < 2 * READ_RENEWALS:
                return
            last, self._renewals_ms = found[-2], int(float(found[-1]))

    async def _inspect(self, link: Link) -> None:
        """Check that the keys agree with each other and with what was delivered; repair what does not."""
        try:
            revision, records = await self._upkeep.inspect(link)
        except ResponseError as error:
            self._say("shard_not_inspected", words_of(error))  # a master that takes no writes, for now
            return
        if revision != self._position.revision:
            return  # the shard changed meanwhile: the next check decides
        surplus = records - self._feed.size(self._shard)
        if surplus < 0:
            await self._upkeep.put_back(link, self._feed.instances(self._shard))
        elif surplus > len(self.aside) and surplus != self._surplus:
            self._surplus = surplus
            await self._catch_up(link)

    def _tell(self, position: Position) -> None:
        """Note that everything up to `position` was delivered, and wake the callers waiting for it."""
        self._position = position
        self.arrivals.tell(position)
