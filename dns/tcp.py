"""DNS over TCP (RFC 7766): messages with a length before them, several on one connection.

It decides nothing but whom it no longer listens to: idle, too slow, or one too many.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Final

import msgspec

from dns.responder import Responder
from registry_core.resolution import addresses_to_listen_on

# A query is never larger; whoever announces more sends something else.
MAX_QUERY: Final = 4096
# What one connection may have in memory, unread and unsent: two queries' worth, and the last answer.
_READ_LIMIT: Final = MAX_QUERY
_UNSENT_LIMIT: Final = 0
# Answers to one connection in one turn of the loop; then the others have theirs.
BATCH: Final = 16
# Questions of one connection that wait for the answers of others, while the next ones are answered.
WAITING: Final = 32


class TcpLimits(msgspec.Struct, frozen=True):
    """How much patience a connection is given. RFC 7766 section 6.2.3 asks for seconds, not minutes."""

    connections: int = 200
    # From one address beyond loopback, so that nobody alone takes all (RFC 7766 section 6.2.2).
    of_one_host: int = 40
    idle_s: float = 10.0
    send_s: float = 5.0
    queries: int = 10_000  # on one connection; then it may come again


class TcpServer:
    """One listening socket and its connections."""

    def __init__(self, responder: Responder, limits: TcpLimits) -> None:
        self._responder = responder
        self._limits = limits
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._hosts: Counter[str] = Counter()
        self._closed = False
        self.refused = 0

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._tasks)

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError when the address cannot be listened on."""
        addresses = await addresses_to_listen_on(host)
        self._server = await asyncio.start_server(self._connected, addresses, port, limit=_READ_LIMIT, backlog=128)

    async def close(self) -> None:
        """Stop listening and end every connection. Safe to call twice."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        host = peer[0] if peer is not None else ""
        too_many = self._hosts[host] >= self._limits.of_one_host and not self._responder.is_local(host)
        if self._closed or too_many or len(self._tasks) >= self._limits.connections:
            self.refused += 1
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._hosts[host] += 1
        try:
            await self._serve(reader, writer, host)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # gone, silent, or cut off in the middle of a query
        finally:
            self._tasks.discard(task)
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]
            # What was answered has left already; a reader who takes nothing is not waited for.
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        responder, limits = self._responder, self._limits
        may_ask = self._responder.admits(host)
        writer.transport.set_write_buffer_limits(high=_UNSENT_LIMIT)
        waiting: set[asyncio.Future[bytes]] = set()
        try:
            for number in range(1, limits.queries + 1):
                # One deadline for the whole query: a byte now and then does not keep a connection.
                async with asyncio.timeout(limits.idle_s):
                    length = int.from_bytes(await reader.readexactly(2))
                    if length > MAX_QUERY:
                        return
                    query = await reader.readexactly(length)
                reply = responder.tcp(query, host, limits.idle_s) if may_ask else responder.refuse(query)
                if reply is not None:
                    # Length and answer at once: in two segments some askers fail to put them together
                    # (RFC 7766 section 8).
                    writer.write(len(reply).to_bytes(2) + reply)
                elif (later := responder.take_later()) is not None:
                    await _wait_for(later, waiting, writer)
                else:
                    return
                async with asyncio.timeout(limits.send_s):
                    await writer.drain()
                if number % BATCH == 0:
                    # Queries that are there already are read without waiting, which alone would let nobody else in.
                    await asyncio.sleep(0)
        except asyncio.IncompleteReadError:
            # Whoever says no more may still listen.
            async with asyncio.timeout(limits.send_s):
                if waiting:
                    await asyncio.wait(waiting)
                    await writer.drain()
            raise


async def _wait_for(
    reply: asyncio.Future[bytes], waiting: set[asyncio.Future[bytes]], writer: asyncio.StreamWriter
) -> None:
    """Have `reply` sent when it is there, in whichever order (RFC 7766 section 7); stand back when too many wait."""
    waiting.add(reply)
    reply.add_done_callback(partial(_write_later, writer))
    reply.add_done_callback(waiting.discard)
    if len(waiting) >= WAITING:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)


def _write_later(writer: asyncio.StreamWriter, answered: asyncio.Future[bytes]) -> None:
    if not answered.cancelled() and not writer.transport.is_closing():
        reply = answered.result()
        writer.write(len(reply).to_bytes(2) + reply)


async def serve_tcp(responder: Responder, host: str, port: int, limits: TcpLimits | None = None) -> TcpServer:
    """Answer messages on `host` out of `responder`. Raises OSError when the address cannot be listened on."""
    server = TcpServer(responder, limits if limits is not None else TcpLimits())
    await server.start(host, port)
    return server
