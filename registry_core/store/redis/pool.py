"""How one Redis server is spoken to: address, credentials, timeouts and the pool of connections.

A client never retries by itself: whoever holds the write decides whether it is sent again, and where.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from registry_core.ports import PoolReport
from registry_core.store.redis.url import Access, Address, PoolTerms

OPERATION_TIMEOUT_S: Final = 5.0
HEALTH_CHECK_EVERY_S: Final = 10
# A peer that vanished without a word is noticed after 60 s of silence and 3 questions, 10 s apart.
KEEPALIVE: Final = {
    getattr(socket, option): value
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    if hasattr(socket, option)
}


def open_client(
    address: Address,
    access: Access,
    *,
    timeout_s: float = OPERATION_TIMEOUT_S,
    max_connections: int = PoolTerms().most,
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
        "driver_info": None,  # it would be read from the disk anew for every connection
        "protocol": 2,  # the shapes of answers depend on it, and the library's default on its version
    }
    if access.tls and access.ca_file is not None:
        options["ssl_ca_certs"] = access.ca_file
    pool: BlockingConnectionPool = BlockingConnectionPool(
        max_connections=max_connections,
        timeout=timeout_s,
        connection_class=SSLConnection if access.tls else Connection,
        **options,
    )
    return Redis.from_pool(pool)


async def warm(client: Redis, connections: int) -> None:
    """Open so many connections ahead of their use. One that fails is no matter: its user will see."""
    pool = client.connection_pool
    opened: list[Awaitable[Any]] = [pool.get_connection() for _ in range(connections)]  # type: ignore[no-untyped-call]
    held = await asyncio.gather(*opened, return_exceptions=True)
    for connection in held:
        if not isinstance(connection, BaseException):
            await pool.release(connection)


def pool_report(client: Redis) -> PoolReport:
    """Return how many connections of a client are in use and idle, and how many there may be."""
    pool = client.connection_pool
    (idle, _), (in_use, _) = pool.get_connection_count()
    return PoolReport(in_use, idle, pool.max_connections)


async def close_client(client: Redis) -> None:
    """End every connection, also those in use: who waits for an answer gets a ConnectionError at once."""
    try:
        async with asyncio.timeout(1):
            await client.connection_pool.disconnect(inuse_connections=True)
            await client.aclose()
    except (RedisError, OSError, TimeoutError):
        return
