"""Connections to a real Redis that break."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from registry_core.store.redis.pool import close_client, open_client, warm
from registry_core.store.redis.url import ServerAccess, ServerAddress
from tests.programs import eventually
from tests.redis_topology import redis_server


async def test_a_connection_that_has_just_broken_is_said_to_be_and_the_next_command_gets_another(
    tmp_path: Path,
) -> None:
    """What asyncio raises then is for the version of Python to choose: TypeError since 3.12."""
    with redis_server(tmp_path / "redis") as server:
        client = open_client(ServerAddress("127.0.0.1", server.port), ServerAccess())
        assert await client.ping()
        (connection,) = client.connection_pool._available_connections
        assert connection._writer is not None
        connection._writer.transport.abort()
        await asyncio.sleep(0)  # asyncio takes the connection down
        with pytest.raises(RedisConnectionError, match="closed"):
            await connection.send_command("PING")
        assert await client.ping()
        await close_client(client)


async def test_a_client_is_closed_although_its_closing_is_cancelled(tmp_path: Path) -> None:
    """A task that ends is cancelled again when it takes long, which may be at any step of its closing."""
    with redis_server(tmp_path / "redis") as server:
        client = open_client(ServerAddress("127.0.0.1", server.port), ServerAccess())
        await warm(client, 3)
        opened = list(client.connection_pool._available_connections)
        assert [connection.is_connected for connection in opened] == [True] * 3
        closing = asyncio.create_task(close_client(client))
        await asyncio.sleep(0)  # it begins
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        assert [connection.is_connected for connection in opened] == [False] * 3
        await eventually(lambda: len(server.ask("CLIENT", "LIST").splitlines()) == 1, "the server agrees")


async def test_a_closed_client_opens_no_connection_for_those_who_still_wait(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as server:
        client = open_client(ServerAddress("127.0.0.1", server.port), ServerAccess(), max_connections=2)
        pool = client.connection_pool
        asking = [asyncio.ensure_future(client.ping()) for _ in range(4)]
        while not pool._in_use_connections:  # noqa: ASYNC110 - one turn of the loop after the other, until two connect
            await asyncio.sleep(0)
        await close_client(client)
        assert {type(said) for said in await asyncio.gather(*asking, return_exceptions=True)} == {RedisConnectionError}
        with pytest.raises(RedisConnectionError, match="closed"):
            await client.ping()
        assert not pool._in_use_connections
        assert not any(connection.is_connected for connection in pool._available_connections)
