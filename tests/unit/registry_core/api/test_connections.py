"""The limits on connections, on real sockets, around an echo protocol."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from registry_core.api import connections as module
from registry_core.api.connections import ConnectionLimits, Connections, wait_to_be_accepted
from tests.programs import eventually


class Echo(asyncio.Protocol):
    """Echoes its input; the line `flood` is answered with more than anyone will read."""

    def __init__(self, connections: Connections, log: list[str]) -> None:
        self._connections = connections
        self._log = log
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._connections.request_came(self._transport, asyncio.ensure_future(asyncio.sleep(0)))
        self._transport.write(data if data != b"flood" else b"x" * 32 * 1024 * 1024)

    def pause_writing(self) -> None:
        self._log.append("pause")

    def resume_writing(self) -> None:
        self._log.append("resume")

    def connection_lost(self, _exc: Exception | None) -> None:
        self._log.append("lost")


@contextlib.asynccontextmanager
async def listening(limits: ConnectionLimits) -> AsyncIterator[tuple[Connections, int, list[str]]]:
    connections, log = Connections(limits), list[str]()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connections.guarding(lambda: Echo(connections, log)), "127.0.0.1", 0)
    try:
        yield connections, server.sockets[0].getsockname()[1], log
    finally:
        server.close()
        await connections.end()
        await eventually(lambda: not connections.open, "all connections have ended")


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_connection_with_a_request_is_served_and_forgotten_when_it_ends() -> None:
    async with listening(ConnectionLimits(first_request_s=60)) as (connections, port, log):
        async with connected(port) as (reader, writer):
            writer.write(b"hello")
            assert await asyncio.wait_for(reader.readexactly(5), 10) == b"hello"
            assert len(connections.open) == 1
        await eventually(lambda: log == ["lost"], "the end was passed on")


async def test_a_connection_without_a_request_is_closed() -> None:
    limits = ConnectionLimits(first_request_s=0.05)
    async with listening(limits) as (connections, port, _), connected(port) as (reader, _writer):
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        await eventually(lambda: not connections.open, "the connection is gone")


async def test_a_connection_over_the_limit_is_closed_at_once_and_the_others_stay() -> None:
    limits = ConnectionLimits(connections=1)
    async with listening(limits) as (connections, port, _), connected(port) as (reader, writer):
        writer.write(b"one")
        await reader.readexactly(3)
        async with connected(port) as (late_reader, late_writer):
            with contextlib.suppress(ConnectionError):
                late_writer.write(b"two")
                assert await asyncio.wait_for(late_reader.read(), 10) == b""
        assert (len(connections.open), connections.refused) == (1, 1)
        writer.write(b"still")
        assert await reader.readexactly(5) == b"still"


async def test_a_client_that_does_not_read_its_answer_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    # The kernel's own timer would do the same on Linux; this tests ours.
    monkeypatch.setattr(module, "_drop_dead_peer", lambda *_: None)
    limits = ConnectionLimits(unread_s=0.1)
    async with listening(limits) as (_, port, log), connected(port) as (_reader, writer):
        writer.write(b"flood")
        await eventually(lambda: "lost" in log, "the connection is gone")
        assert log[0] == "pause"


async def test_a_slow_reader_is_not_disconnected() -> None:
    limits = ConnectionLimits(unread_s=60)
    async with listening(limits) as (connections, port, log), connected(port) as (reader, writer):
        writer.write(b"flood")
        await eventually(lambda: log == ["pause"], "the buffer is full")
        (connection,) = connections.open
        timer = connection._unread
        assert timer is not None
        await asyncio.wait_for(reader.readexactly(32 * 1024 * 1024), 30)
        assert log == ["pause", "resume"]
        assert timer.cancelled()


async def test_at_the_limit_idle_connections_make_room_and_served_ones_stay() -> None:
    limits = ConnectionLimits(connections=3, first_request_s=60)
    async with listening(limits) as (connections, port, _), connected(port) as (reader, writer):
        writer.write(b"hello")
        assert await asyncio.wait_for(reader.readexactly(5), 10) == b"hello"
        async with connected(port) as (oldest, _), connected(port) as (newer, newer_writer):
            await eventually(lambda: len(connections.open) == 3, "all are there")
            async with connected(port) as (late, late_writer):
                late_writer.write(b"late")
                assert await asyncio.wait_for(late.readexactly(4), 10) == b"late"
                with contextlib.suppress(ConnectionError):
                    assert await asyncio.wait_for(oldest.read(), 10) == b""
                newer_writer.write(b"newer")
                assert await asyncio.wait_for(newer.readexactly(5), 10) == b"newer"
                assert (len(connections.open), connections.evicted, connections.refused) == (3, 1, 0)
                async with connected(port) as (refused, _):
                    with contextlib.suppress(ConnectionError):
                        assert await asyncio.wait_for(refused.read(), 10) == b""
                assert connections.refused == 1, "connections in use are not closed"


async def test_a_connection_waits_until_the_loop_has_accepted_it() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    assert not wait_to_be_accepted(server)
    with socket.socket() as client:
        client.setblocking(False)
        client.connect_ex(server.sockets[0].getsockname())
        assert wait_to_be_accepted(server), "no turn of the loop has come since"
        await eventually(lambda: not wait_to_be_accepted(server), "it is accepted")
    server.close()
    await server.wait_closed()
    assert not wait_to_be_accepted(server)
    assert not wait_to_be_accepted(None)
