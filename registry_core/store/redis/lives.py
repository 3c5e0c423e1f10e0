"""The lives of one shard: opens connections to its master, and carries acknowledged writes from one life to the next.

A life is the shard's history under one server process, for as long as that process is the master. Before this replica
writes to another life or reads from it, it puts back the writes that the journal has and the life lacks. This module
tracks the newest life, so that no write is acknowledged in one that is over.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog
from redis.exceptions import ReadOnlyError, ResponseError

from registry_core.errors import StoreUnavailable
from registry_core.ports.clock import Clock
from registry_core.store.redis import rows
from registry_core.store.redis.journal import Journal
from registry_core.store.redis.link import OPEN_S, Life, Link
from registry_core.store.redis.scripts import SCRIPTS, RedisCommand, ScriptName, called, loading
from registry_core.store.redis.watcher import MasterWatcher

REAPPLY_S: Final = 10.0
REAPPLIED_AT_ONCE: Final = 200

_log = structlog.get_logger(component="store.redis")


class ForeignKeys(StoreUnavailable):
    """Raised when the prefix holds keys of another program or of a later layout; none of them was touched."""


class Opened(msgspec.Struct, frozen=True):
    """A connection to the master, and the state of the shard there."""

    link: Link
    revision: int
    born_empty: bool  # the server came up empty not long ago


class Lives:
    """Opens the connections for one shard's writes and reads."""

    def __init__(
        self, masters: MasterWatcher, prefix: str, journal: Journal, clock: Clock, *, unknown_s: float
    ) -> None:
        """`unknown_s`: how long after the server starts empty a missing instance may still be alive."""
        self._masters = masters
        self._prefix = prefix
        self._journal = journal
        self._clock = clock
        self._unknown_s = unknown_s
        self._opening = asyncio.Lock()
        self._listeners: list[Callable[[], None]] = []
        self.newest = Life()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever another life begins."""
        self._listeners.append(listener)

    def is_newest(self, link: Link) -> bool:
        """Return whether this process has seen no later life than that of `link`."""
        return link.is_open and link.life == self.newest

    async def open(self) -> Opened:
        """Return a connection to the current master, after putting back the missing writes that this process remembers.

        Raises StoreUnavailable, ForeignKeys, or what redis-py raises; the caller closes the link.
        """
        client = await self._masters.current()
        link = await Link.opened(client, self._clock)
        try:
            async with self._opening:
                async with asyncio.timeout(OPEN_S):
                    opened = await self._begin(link)
                if link.life != self.newest:
                    if self.newest.epoch:
                        async with asyncio.timeout(REAPPLY_S):
                            await self._put_back(link)
                    self.newest = link.life
                    for listener in self._listeners:
                        listener()
        except ReadOnlyError as error:
            await link.close()
            self._masters.failed(client, error)
            raise
        except BaseException:
            await link.close()
            raise
        return opened

    async def _begin(self, link: Link) -> Opened:
        opening: RedisCommand = (
            "EVAL",
            SCRIPTS[ScriptName.OPEN].text,
            "0",
            self._prefix,
            "",
            link.run_id,
            secrets.token_hex(8),
            str(int(self._unknown_s * 1000)),
            str(self.newest.number),
            link.replication_id,
        )
        *_, result = await link.ask([*loading(), opening])
        if isinstance(result, ResponseError):
            raise result
        match result[0]:
            case b"foreign":
                key = result[1].decode(errors="replace")
                raise ForeignKeys(f"{self._masters.name}: {key} is a key of another program: choose another prefix=")
            case b"newer":
                raise ForeignKeys(
                    f"{self._masters.name}: a later release has written to this prefix (layout {result[1].decode()}): "
                    "run that one, or choose another prefix="
                )
        _, epoch, revision, born_empty, life = result
        link.life = Life(epoch.decode(), int(life), link.run_id)
        return Opened(link, int(revision), born_empty == b"1")

    async def _put_back(self, link: Link) -> None:
        """Put back writes of earlier lives that are missing in this one."""
        entries: list[tuple[str | bytes, ...]] = []
        for key, written in self._journal.entries(self._clock.monotonic()):
            if written.order.life == link.life.number:
                continue  # it is present, or was removed since
            field, instance = rows.field_of(key), written.instance
            if instance is None:
                entries.append((field, "", "", f"{written.epoch} {written.order}"))
            else:
                entries.append((field, instance.service_name, rows.value_of(instance, written.order), ""))
        put_back = 0
        for start in range(0, len(entries), REAPPLIED_AT_ONCE):
            part = entries[start : start + REAPPLIED_AT_ONCE]
            put_back += await reapply(link, self._prefix, part)
            await asyncio.sleep(0)
        self._journal.renew(self._clock.monotonic())
        number, shard = link.life.number, self._masters.name
        if put_back:
            _log.warning("life_begun", shard=shard, life=number, remembered=len(entries), put_back=put_back)
        else:
            _log.info("life_begun", shard=shard, life=number, remembered=len(entries), put_back=put_back)


async def reapply(link: Link, prefix: str, entries: list[tuple[str | bytes, ...]]) -> int:
    """Put back missing entries (four words each, see reapply.lua); return how many were missing.

    Raises a ResponseError when the server takes no writes.
    """
    arguments = tuple(word for entry in entries for word in entry)
    (result,) = await link.ask([called(ScriptName.REAPPLY, prefix, arguments)])
    if isinstance(result, ResponseError):
        raise result
    found: list[Any] = result
    return int(found[0])
