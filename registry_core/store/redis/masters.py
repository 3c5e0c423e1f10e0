"""Which server is the master of a shard at this moment, and a client for it.

A master is taken at its own word only (ROLE), never at a Sentinel's alone. Nothing is retried, held
or written here: a caller gets the client of a confirmed master, or StoreUnavailable at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from redis.asyncio import Redis

from registry_core.ports import Clock, PoolReport
from registry_core.store.redis.quorum import MasterStanding
from registry_core.store.redis.url import ONLY_SHARD, PoolTerms, RedisSettings, ServerAccess, ServerAddress
from registry_core.store.redis.watcher import DEFAULT_POOL, MasterWatcher

NOTHING_TO_SHOW: Final = ServerAccess()


class Masters(Protocol):
    """The masters of one shard, one after the other."""

    @property
    def name(self) -> str:
        """What the shard is called; its place in the hashing depends on it."""
        ...

    @property
    def run_id(self) -> str:
        """The run id of the current master, or "" when none is known. A restart gives another one."""
        ...

    @property
    def address(self) -> str:
        """Where the current master listens, or "" when none is known."""
        ...

    @property
    def problem(self) -> str:
        """Why there is no master at present, in words for people; "" when there is one."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What an operator should change about the current master, in words for people."""
        ...

    @property
    def latency_ms(self) -> float | None:
        """How long the current master takes to answer, in the middle; None when it is not known."""
        ...

    @property
    def connections(self) -> PoolReport | None:
        """The connections to the current master; None when there is none."""
        ...

    @property
    def standing(self) -> MasterStanding:
        """What the last answers of all servers say of who leads, and of who may lead next."""
        ...

    async def start(self) -> None:
        """Look for the master, and return when it is found or after a short while without one.

        Raises SettingsError when waiting cannot help: a wrong password, a server that is too old, a
        name that no Sentinel knows.
        """
        ...

    async def close(self) -> None:
        """Stop looking, and end all connections. Safe to call twice."""
        ...

    async def current(self) -> Redis:
        """Return the client of the current master. Raises StoreUnavailable at once when there is none."""
        ...

    def doubt(self) -> None:
        """Ask all servers often for a while: something does not look as it should."""
        ...

    def failed(self, client: Redis, error: Exception) -> None:
        """Hear that `client` did not serve as a master should: no connection, READONLY, no replica's word."""
        ...

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever a master is in place again: another one, or the same after a failure."""
        ...


class FixedMaster(MasterWatcher):
    """One server at one address; when it is gone, it is waited for."""

    def __init__(
        self,
        address: ServerAddress,
        access: ServerAccess = NOTHING_TO_SHOW,
        *,
        name: str = ONLY_SHARD,
        pool: PoolTerms = DEFAULT_POOL,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(name, access=access, nodes=(address,), pool=pool, clock=clock)


class SentinelMaster(MasterWatcher):
    """The master that the Sentinels know by `name`."""

    def __init__(
        self,
        name: str,
        sentinels: Sequence[ServerAddress],
        access: ServerAccess = NOTHING_TO_SHOW,
        *,
        sentinel_access: ServerAccess = NOTHING_TO_SHOW,
        hasten: bool = True,
        pool: PoolTerms = DEFAULT_POOL,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            name,
            access=access,
            sentinels=tuple(sentinels),
            sentinel_access=sentinel_access,
            hasten=hasten,
            pool=pool,
            clock=clock,
        )


def masters_of(settings: RedisSettings, clock: Clock | None = None) -> tuple[Masters, ...]:
    """Return the masters of every shard, none of them started."""
    if settings.server is not None:
        return (FixedMaster(settings.server, settings.access, pool=settings.pool, clock=clock),)
    return tuple(
        SentinelMaster(
            name,
            settings.sentinels,
            settings.access,
            sentinel_access=settings.sentinel_access,
            hasten=settings.hasten,
            pool=settings.pool,
            clock=clock,
        )
        for name in settings.masters
    )
