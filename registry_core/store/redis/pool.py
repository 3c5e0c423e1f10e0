"""Clients of one Redis server: address, credentials, timeouts and the connection pool.

A client never retries by itself: the owner of a write decides whether it is sent again, and where.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from registry_core.ports.reports import PoolReport
from registry_core.resolution import ServerAddresses
from registry_core.store.redis.exchange import RedisExchange
from registry_core.store.redis.tls import redis_tls
from registry_core.store.redis.url import PoolTerms, ServerAccess, ServerAddress

OPERATION_TIMEOUT_S: Final = 5.0
# A host that has vanished, as a container's does, answers no SYN: waiting for it as long as for an answer would hold
# up writes long after another master is in place. This is long enough for a lost SYN to be sent a second time.
CONNECT_TIMEOUT_S: Final = 1.5
HEALTH_CHECK_EVERY_S: Final = 10
# A peer that vanished silently is noticed after 60 s without traffic and 3 keepalive probes, 10 s apart.
KEEPALIVE: Final = {
    getattr(socket, option): value
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    if hasattr(socket, option)
}


_CUT: Final = "the client is closed"

# Shared by all servers of this process: clients reuse each other's resolved names.
_ADDRESSES: Final = ServerAddresses()


class PlainConnection(Connection):
    """A connection that resolves its server's name first, and never in the loop's executor.

    When the process ends, both loops wait for their resolver threads for as long as a name server is silent, and
    uvloop's threads do nothing else meanwhile: with four names a replica neither listened nor ended.
    """

    _address: str = ""

    async def _connect(self) -> None:
        addresses = await _ADDRESSES.find(self.host)
        async with asyncio.timeout(self.socket_connect_timeout):
            for self._address in addresses:
                try:
                    await super()._connect()  # type: ignore[no-untyped-call]
                except OSError:
                    if self._address == addresses[-1]:
                        raise
                else:
                    return

    def cut(self) -> None:
        """Close the connection at once and wait for nothing, so that no cancellation can come between."""
        if self._writer is not None:
            self._parser.on_disconnect()  # type: ignore[no-untyped-call]
            self._writer.transport.abort()
            self._writer = self._reader = None

    async def _send_packed_command(self, command: Iterable[bytes]) -> None:
        # From Python 3.12 on, asyncio's transport raises TypeError instead when the connection has just broken.
        if self._writer is None or self._writer.transport.is_closing():
            raise ConnectionResetError(errno.ECONNRESET, "the connection is closed")
        await super()._send_packed_command(command)

    def exchange(self) -> RedisExchange:
        """Return the two directions of this connection, for a caller that has it for itself, once it is connected.

        Raises ConnectionError when it is not.
        """
        if self._reader is None or self._writer is None:
            raise RedisConnectionError("the connection has ended")
        return RedisExchange(self._reader, self._writer, self._parser.parse_error)

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "host": self._address}


class TlsConnection(PlainConnection, SSLConnection):
    """A TLS connection that uses certificates read beforehand: no connection reads them again."""

    def __init__(self, *, tls: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = tls

    def _connection_arguments(self) -> Mapping[str, Any]:
        # The certificate is checked against the server's name, not against the address it resolves to.
        return {**super()._connection_arguments(), "server_hostname": self.host}


class ServerPool(BlockingConnectionPool):
    """A pool that stays closed once it is: redis-py's opens connections again for the callers that are still waiting.

    Nobody would close those, and each holds a descriptor and a place at a server that is no longer the master.
    """

    _is_cut: bool = False

    async def get_connection(self, *words: Any, **options: Any) -> AbstractConnection:
        self._fail_if_cut()
        connection: AbstractConnection = await super().get_connection(*words, **options)  # type: ignore[no-untyped-call]
        try:
            self._fail_if_cut()  # as it may be since
        except RedisConnectionError:
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        if self._is_cut:
            _cut(connection)
        await super().release(connection)

    def _fail_if_cut(self) -> None:
        if self._is_cut:
            raise RedisConnectionError(_CUT)

    def cut(self) -> None:
        """Close every connection at once, even those in use, and open no more."""
        self._is_cut = True
        for connection in (*self._available_connections, *self._in_use_connections):
            _cut(connection)


def _cut(connection: AbstractConnection) -> None:
    if isinstance(connection, PlainConnection):  # as all of them are
        connection.cut()


def open_client(
    address: ServerAddress,
    access: ServerAccess,
    *,
    timeout_s: float = OPERATION_TIMEOUT_S,
    max_connections: int = PoolTerms().most,
) -> Redis:
    """Return a client with its own pool, not yet connected; close it with `close_client`."""
    options: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "db": access.db,
        "username": access.username,
        "password": access.password,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": min(timeout_s, CONNECT_TIMEOUT_S),
        "socket_keepalive": True,
        "socket_keepalive_options": KEEPALIVE,
        "health_check_interval": HEALTH_CHECK_EVERY_S,
        "retry": Retry(NoBackoff(), 0),
        "driver_info": None,  # it would be read from the disk for every connection
        "protocol": 2,  # the shape of answers depends on it, and the library's default varies by version
    }
    if access.tls:
        options["tls"] = redis_tls(access).context
    pool = ServerPool(
        max_connections=max_connections,
        timeout=timeout_s,
        connection_class=TlsConnection if access.tls else PlainConnection,
        **options,
    )
    return Redis.from_pool(pool)


def speaks_tls(client: Redis) -> bool:
    """Return whether `client` speaks TLS."""
    return client.connection_pool.connection_class is TlsConnection


async def warm(client: Redis, connections: int) -> None:
    """Open this many connections ahead of use. Failures are ignored here: the user of the connection sees them."""
    pool = client.connection_pool
    opened: list[Awaitable[Any]] = [pool.get_connection() for _ in range(connections)]  # type: ignore[no-untyped-call]
    held = await asyncio.gather(*opened, return_exceptions=True)
    for connection in held:
        if not isinstance(connection, BaseException):
            await pool.release(connection)


def pool_report(client: Redis) -> PoolReport:
    """Return how many connections of a client are in use, idle and allowed."""
    pool = client.connection_pool
    (idle, _), (in_use, _) = pool.get_connection_count()
    return PoolReport(in_use, idle, pool.max_connections)


async def close_client(client: Redis) -> None:
    """Close every connection, even those in use: a caller waiting for an answer gets a ConnectionError at once.

    They are closed before anything is awaited. A task that ends is cancelled again while it closes its client when the
    machine is slow, and redis-py, which closes each connection in a task of its own, then left them open.
    """
    if isinstance(client.connection_pool, ServerPool):
        client.connection_pool.cut()
    try:
        async with asyncio.timeout(1):
            await client.connection_pool.disconnect(inuse_connections=True)
            await client.aclose()
    except (RedisError, OSError, TimeoutError):
        return
