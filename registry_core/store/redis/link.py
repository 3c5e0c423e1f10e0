"""One connection to one server process: what is sent on it reaches that process or none.

A pool gives every command any free connection and reconnects when one was cut: to the same address, but perhaps to a
server that was restarted there and has lost its last second. Commands that must know their server are sent on a link,
which never reconnects. It identifies the server when it is opened, and decides nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from hiredis import pack_command
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from registry_core.ports.clock import Clock
from registry_core.store.redis.exchange import RedisExchange
from registry_core.store.redis.scripts import RedisCommand

OPEN_S: Final = 3.0  # for connecting and identifying the server
_RUN_ID: Final = re.compile(rb"^run_id:(\w+)", re.MULTILINE)
_REPLICATION_ID: Final = re.compile(rb"^master_replid:(\w+)", re.MULTILINE)


class Life(msgspec.Struct, frozen=True):
    """One life of a shard: its epoch, and its number among all its lives."""

    epoch: str = ""
    number: int = 0
    run_id: str = ""  # of the server of that life


class Link:
    """A dedicated connection to the server of `client`. Create one with `opened`."""

    def __init__(self, client: Redis, connection: Any, clock: Clock) -> None:
        self.client = client
        self.life = Life()
        self.run_id = ""
        self.replication_id = ""  # changes each time the process becomes a master
        self._connection = connection
        self._clock = clock
        self._ahead_ms = 0.0  # the server's clock before our monotonic one
        self._exchange: RedisExchange | None = None
        self._broken = False
        self.timed_s = 0.0

    @classmethod
    async def opened(cls, client: Redis, clock: Clock) -> Link:
        """Connect and identify the server. Raises what redis-py raises, including TimeoutError."""
        async with asyncio.timeout(OPEN_S):
            connection: Any = await client.connection_pool.get_connection()  # type: ignore[no-untyped-call] # by itself
            link = cls(client, connection, clock)
            try:
                server, replication, now = await link.ask([("INFO", "server"), ("INFO", "replication"), ("TIME",)])
                link.run_id = _found(_RUN_ID, server)
                link.replication_id = _found(_REPLICATION_ID, replication)
                link.hear_time(now)
            except BaseException:
                await link.close()
                raise
            return link

    @property
    def is_open(self) -> bool:
        """Whether the connection can still be used."""
        return not self._broken and bool(self._connection.is_connected)

    async def ask(self, commands: Sequence[RedisCommand], *, timed: int | None = None) -> list[Any]:
        """Send commands at once and return an answer for each: a ResponseError where the server refused one.

        `timed_s` then says how long after the answer before it that of the command numbered `timed` came.

        Raises ConnectionError or TimeoutError when not all were answered; the link is unusable then.
        """
        connection, times = self._connection, {}
        if not self.is_open:  # no await between this check and the send: redis-py would reconnect
            raise RedisConnectionError("the connection has ended")

        def arrived(number: int) -> None:
            times[number] = self._clock.monotonic()

        if self._exchange is None:
            self._exchange = connection.exchange()
        complete = False
        try:
            # One timeout for all, since each timeout costs time: nearly all answers arrive with the first.
            async with asyncio.timeout(connection.socket_timeout):
                sent = b"".join(map(packed, commands))
                answers = await self._exchange.ask(sent, len(commands), arrived if timed is not None else None)
            complete = True
        finally:
            if not complete:
                self._broken = True
        if timed is not None:
            self.timed_s = waited_s(times, timed)
        return answers

    def hear_time(self, answer: Any) -> None:
        """Record the server's clock from its answer to TIME."""
        if isinstance(answer, list) and len(answer) == 2:
            self._ahead_ms = int(answer[0]) * 1000 + int(answer[1]) / 1000 - self._clock.monotonic() * 1000

    def server_ms(self, monotonic_s: float) -> int:
        """Return the server's clock at `monotonic_s` of ours, in ms: low by the transit time of its answer."""
        return int(monotonic_s * 1000 + self._ahead_ms)

    async def close(self) -> None:
        """Close the connection. Safe to call twice."""
        self._broken = True
        connection, self._connection = self._connection, _Ended()
        if isinstance(connection, _Ended):
            return
        try:
            await connection.disconnect(nowait=True)
        except (RedisError, OSError):
            pass  # the connection is finished in any case
        finally:
            await self.client.connection_pool.release(connection)


def packed(command: RedisCommand) -> bytes:
    """Return a command as bytes on the wire. redis-py packs in Python, which takes ten times as long."""
    sent: bytes = pack_command(command)  # type: ignore[arg-type] # its stub takes one word alone
    return sent


def waited_s(times: Mapping[int, float], number: int) -> float:
    """Return how long after the answer before it that of the command `number` came.

    `times` says when so many answers had arrived. Those that came together show no time between them.
    """
    before = [at for arrived, at in times.items() if arrived <= number]
    after = [at for arrived, at in times.items() if arrived > number]
    return min(after) - max(before) if before and after else 0.0


def _found(pattern: re.Pattern[bytes], said: Any) -> str:
    if isinstance(said, ResponseError):
        raise said
    found = pattern.search(said)
    if found is None:
        raise RedisConnectionError("it does not report its run id")
    return found[1].decode()


class _Ended:
    """Stands in for a connection that was given back."""

    is_connected = False
