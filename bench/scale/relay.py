"""A relay between a real agent and its registry that counts octets, and keeps the head of the agent's watch."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

_CHUNK: Final = 65_536
_WATCH: Final = b"GET /watch?"
_END: Final = b"\r\n\r\n"


class Relay:
    """Passes the connections of one agent on to `port`."""

    def __init__(self, port: int) -> None:
        self.sent = 0  # octets by the agent
        self.got = 0  # octets by the registry
        self.connections = 0
        self.watch_head = b""
        self._port = port

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on until either end closes it, or the relay ends."""
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await self._both_ways(reader, writer)

    async def _both_ways(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        upstream, to_registry = await asyncio.open_connection("127.0.0.1", self._port)
        tasks = [
            asyncio.ensure_future(self._up(reader, to_registry)),
            asyncio.ensure_future(self._down(upstream, writer)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            to_registry.close()
            writer.close()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            self.sent += len(data)
            if data.startswith(_WATCH) and b"once=" not in data and _END in data and not self.watch_head:
                self.watch_head = data
            writer.write(data)
            await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            self.got += len(data)
            writer.write(data)
            await writer.drain()


@contextlib.asynccontextmanager
async def relay(port: int) -> AsyncIterator[tuple[int, Relay]]:
    """Run a relay to `port` for the duration of a `with`; yield its own port and the relay."""
    passing = Relay(port)
    server = await asyncio.start_server(passing.pass_on, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], passing
    finally:
        server.close()
