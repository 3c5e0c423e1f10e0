"""How one Redis server is spoken to: address, credentials, timeouts and the pool of connections.

A client never retries by itself: whoever holds the write decides whether it is sent again, and where.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Awaitable, Mapping
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from registry_core.errors import SettingsError
from registry_core.ports.reports import PoolReport
from registry_core.resolution import ServerAddresses
from registry_core.store.redis.url import PoolTerms, ServerAccess, ServerAddress

OPERATION_TIMEOUT_S: Final = 5.0
# A host that has vanished, as a container's does, answers no SYN: whoever waits for that as long as for an answer holds
# up its writes long after another master is in place. In this time a SYN that was lost is sent a second time.
CONNECT_TIMEOUT_S: Final = 1.5
HEALTH_CHECK_EVERY_S: Final = 10
# A peer that vanished without a word is noticed after 60 s of silence and 3 questions, 10 s apart.
KEEPALIVE: Final = {
    getattr(socket, option): value
    for option, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    if hasattr(socket, option)
}


# Of all servers of this process: what one client has learnt of a name is of use to the others.
_ADDRESSES: Final = ServerAddresses()


class PlainConnection(Connection):
    """A connection whose server may have a name: that is resolved first, and never by the loop's executor.

    Both loops wait for their own resolvers' threads when the process ends, for as long as a name server is silent,
    and uvloop's have nothing else done meanwhile: with four names a replica neither listened nor ended.
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

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "host": self._address}


class TlsConnection(PlainConnection, SSLConnection):
    """A connection over TLS whose certificates were read before: none is read for each connection anew."""

    def __init__(self, *, tls: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = tls

    def _connection_arguments(self) -> Mapping[str, Any]:
        # The certificate is for the name that the server is known by, and not for what that resolves to.
        return {**super()._connection_arguments(), "server_hostname": self.host}


@functools.lru_cache(maxsize=8)
def tls_context(access: ServerAccess) -> ssl.SSLContext:
    """Return how `access` speaks TLS: 1.2 or newer, with a certificate that is checked, host name and all.

    There is no way to have less checked. Files are read, once for a process. Raises SettingsError, which
    names the option of the URL, when one cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=access.ca_file)
    except (OSError, ValueError) as error:
        raise SettingsError(f"REGISTRY_STORE: ca={access.ca_file}: {_why(error, 'certificates')}") from None
    if access.cert_file is not None:
        try:
            context.load_cert_chain(access.cert_file, access.key_file, password=_no_password)
        except (OSError, ValueError) as error:
            named = f"cert={access.cert_file}" + (f", key={access.key_file}" if access.key_file else "")
            raise SettingsError(f"REGISTRY_STORE: {named}: {_why(error, 'a certificate and its key')}") from None
    return context


def _why(error: Exception, wanted: str) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.strerror:
        return error.strerror
    return f"it does not hold {wanted} in PEM ({getattr(error, 'reason', None) or error})"


def _no_password() -> str:
    # Without this, OpenSSL asks for it at the terminal, and waits.
    raise ValueError("the key is protected by a password")


def open_client(
    address: ServerAddress,
    access: ServerAccess,
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
        "socket_connect_timeout": min(timeout_s, CONNECT_TIMEOUT_S),
        "socket_keepalive": True,
        "socket_keepalive_options": KEEPALIVE,
        "health_check_interval": HEALTH_CHECK_EVERY_S,
        "retry": Retry(NoBackoff(), 0),
        "driver_info": None,  # it would be read from the disk anew for every connection
        "protocol": 2,  # the shapes of answers depend on it, and the library's default on its version
    }
    if access.tls:
        options["tls"] = tls_context(access)
    pool: BlockingConnectionPool = BlockingConnectionPool(
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
