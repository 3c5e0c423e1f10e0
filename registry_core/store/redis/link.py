"""One connection to one server process: what is sent on it goes to that process, or nowhere.

A pool gives every command whichever connection is free, and connects anew when one was cut: to the same address, and
perhaps to a server that was restarted there meanwhile and has lost its last second. What has to be sure of its server
is sent on a link, which never connects again. It reads who is there when it is opened, and decides nothing.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from hiredis import pack_command
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from registry_core.ports.clock import Clock
from registry_core.store.redis.scripts import RedisCommand

OPEN_S: Final = 3.0  # for connecting, and for learning who answers
_RUN_ID: Final = re.compile(rb"^run_id:(\w+)", re.MULTILINE)
_REPLICATION_ID: Final = re.compile(rb"^master_replid:(\w+)", re.MULTILINE)


class Life(msgspec.Struct, frozen=True):
    """One life of a shard: its epoch, and its number among the lives that there were."""

    epoch: str = ""
    number: int = 0
    run_id: str = ""  # of the server of that life


class Link:
    """A connection of its own to the server that `client` is for. `opened` makes one."""

    def __init__(self, client: Redis, connection: Any, clock: Clock) -> None:
        self.client = client
        self.life = Life()
        self.run_id = ""
        self.replication_id = ""  # another one for each time that the process becomes a master
        self._connection = connection
        self._clock = clock
        self._ahead_ms = 0.0  # the server's clock before our monotonic one
        self._broken = False

    @classmethod
    async def opened(cls, client: Redis, clock: Clock) -> Link:
        """Connect, and learn who answers. Raises what redis-py raises, TimeoutError too."""
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
        """Whether something can still be sent on it."""
        return not self._broken and bool(self._connection.is_connected)

    async def ask(self, commands: Sequence[RedisCommand]) -> list[Any]:
        """Send commands in one go, and return an answer for each: a ResponseError where the server refused one.

        Raises a ConnectionError or TimeoutError when not all were answered; the link is of no use then.
        """
        connection = self._connection
        if not self.is_open:  # no waiting between this and the sending: it would connect anew by itself
            raise RedisConnectionError("the connection has ended")
        answers: list[Any] = []
        complete = False
        try:
            # One limit for all of them, since each has its cost: of many answers nearly all are there with the first.
            async with asyncio.timeout(connection.socket_timeout):
                await connection.send_packed_command(b"".join(map(packed, commands)), check_health=False)
                for _ in commands:
                    try:
                        answers.append(await connection.read_response(disconnect_on_error=False, timeout=math.inf))
                    except ResponseError as error:
                        answers.append(error)
            complete = True
        finally:
            if not complete:
                self._broken = True
        return answers

    def hear_time(self, answer: Any) -> None:
        """Take note of the server's clock from its answer to TIME."""
        if isinstance(answer, list) and len(answer) == 2:
            self._ahead_ms = int(answer[0]) * 1000 + int(answer[1]) / 1000 - self._clock.monotonic() * 1000

    def server_ms(self, monotonic_s: float) -> int:
        """Return what the server's clock shows at a moment of ours, in ms: a little less, by the way of its answer."""
        return int(monotonic_s * 1000 + self._ahead_ms)

    async def close(self) -> None:
        """End the connection. Safe to call twice."""
        self._broken = True
        connection, self._connection = self._connection, _Ended()
        if isinstance(connection, _Ended):
            return
        try:
            await connection.disconnect(nowait=True)
        except (RedisError, OSError):
            pass  # it is at its end in any case
        finally:
            await self.client.connection_pool.release(connection)


def packed(command: RedisCommand) -> bytes:
    """Return a command as it is sent. redis-py packs in Python, which takes ten times as long."""
    sent: bytes = pack_command(command)  # type: ignore[arg-type] # its stub takes one word alone
    return sent


def _found(pattern: re.Pattern[bytes], said: Any) -> str:
    if isinstance(said, ResponseError):
        raise said
    found = pattern.search(said)
    if found is None:
        raise RedisConnectionError("it does not say which process it is")
    return found[1].decode()


class _Ended:
    """What stands in the place of a connection that was given back."""

    is_connected = False
