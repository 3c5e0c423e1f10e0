"""Clients that hold connections, for tests of what a server does about them. They talk to loopback only."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

GET = b"GET /services HTTP/1.1\r\nHost: localhost\r\n\r\n"
AT_ONCE = 64


class Attacker:
    """Holds connections to one port, and reads nothing unless told to."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.sockets: list[socket.socket] = []

    async def connect(self, count: int, sent: bytes = b"") -> None:
        """Open `count` connections, each of which sends the same; return when all have sent it."""
        for first in range(0, count, AT_ONCE):
            await asyncio.gather(*(self._one(sent) for _ in range(min(AT_ONCE, count - first))))

    async def ask(self, count: int, request: bytes = GET) -> None:
        """Open `count` connections that each make one good request, read the answer, and keep the connection."""
        loop = asyncio.get_running_loop()
        for _ in range(count):
            await self.connect(1, request)
            async with asyncio.timeout(20):
                assert await loop.sock_recv(self.sockets[-1], 65536), "it was served"

    async def ended(self) -> int:
        """Return how many connections the server has ended."""
        return sum(_has_ended(each) for each in self.sockets)

    async def has_ended(self, number: int) -> bool:
        """Return whether the server has ended that connection."""
        await asyncio.sleep(0)
        return _has_ended(self.sockets[number])

    async def _one(self, sent: bytes) -> None:
        loop = asyncio.get_running_loop()
        client = socket.socket()
        self.sockets.append(client)
        client.setblocking(False)
        # A server that is full may end a connection before it has sent anything.
        with contextlib.suppress(ConnectionError):
            await loop.sock_connect(client, ("127.0.0.1", self._port))
            await loop.sock_sendall(client, sent)


def _has_ended(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@contextlib.asynccontextmanager
async def attacking(port: int) -> AsyncIterator[Attacker]:
    """Have an attacker for the duration of a `with`."""
    attacker = Attacker(port)
    try:
        yield attacker
    finally:
        for each in attacker.sockets:
            each.close()


async def exchange(port: int, sent: bytes) -> bytes:
    """Send bytes on a connection of their own, and return what comes back until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = bytearray()
    try:
        writer.write(sent)
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                while piece := await reader.read(65536):
                    received += piece
    finally:
        writer.transport.abort()
    return bytes(received)


async def is_served(port: int, path: str = "/services") -> bool:
    """Return whether a neighbour with a connection of its own gets an answer with status 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    return (await exchange(port, request.encode())).startswith(b"HTTP/1.1 200 ")
