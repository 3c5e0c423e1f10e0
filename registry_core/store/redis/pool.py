"""How one Redis server is spoken to: address, credentials, timeouts and the pool of connections.

A client never retries by itself: whoever holds the write decides whether it is sent again, and where.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final, NamedTuple

import msgspec
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

OPERATION_TIMEOUT_S: Final = 5.0
IDLE_CONNECTIONS: Final = 5
MAX_CONNECTIONS: Final = 50
HEALTH_CHECK_EVERY_S: Final = 10
# A peer that vanished without a word is noticed after 60 s of silence and 3 questions, 10 s apart.
KEEPALIVE: Final = {
    getattr(socket, option): value
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    if hasattr(socket, option)
}


class Address(NamedTuple):
    """Where one server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Access(msgspec.Struct, frozen=True):
    """What a server has to be shown, and how: the same for all servers of one kind."""

    username: str | None = None
    password: str | None = None
    tls: bool = False
    db: int = 0

    def __repr__(self) -> str:
        return f"Access(tls={self.tls}, db={self.db})"  # never a credential


def open_client(
    address: Address,
    access: Access,
    *,
    timeout_s: float = OPERATION_TIMEOUT_S,
    max_connections: int = MAX_CONNECTIONS,
) -> Redis:
    """Return a client with a pool of its own. Nothing is connected yet; `close_client` ends it."""
    options: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "db": access.db,
        "username": access.username,
        "password": access.password,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_keepalive": True,
        "socket_keepalive_options": KEEPALIVE,
        "health_check_interval": HEALTH_CHECK_EVERY_S,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,  # the shapes of answers depend on it, and the library's default on its version
    }
    pool: BlockingConnectionPool = BlockingConnectionPool(
        max_connections=max_connections,
        timeout=timeout_s,
        connection_class=SSLConnection if access.tls else Connection,
        **options,
    )
    return Redis.from_pool(pool)


async def warm(client: Redis, connections: int = IDLE_CONNECTIONS) -> None:
    """Open so many connections ahead of their use. One that fails is no matter: its user will see."""
    pool = client.connection_pool
    held = await asyncio.gather(*(pool.get_connection() for _ in range(connections)), return_exceptions=True)
    for connection in held:
        if not isinstance(connection, BaseException):
            await pool.release(connection)


async def close_client(client: Redis) -> None:
    """End every connection, also those in use: who waits for an answer gets a ConnectionError at once."""
    try:
        async with asyncio.timeout(1):
            await client.connection_pool.disconnect(inuse_connections=True)
            await client.aclose()
    except (RedisError, OSError, TimeoutError):
        return
