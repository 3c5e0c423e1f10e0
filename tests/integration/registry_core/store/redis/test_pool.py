"""Connections to a real Redis that break."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from registry_core.store.redis.pool import close_client, open_client
from registry_core.store.redis.url import ServerAccess, ServerAddress
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
