"""DNS over TCP (RFC 7766): length-prefixed messages, several on one connection.

The only thing it decides is which connections to close: idle ones, slow ones, and those over the limit.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Final

import msgspec

from dns.responder import Responder
from registry_core.resolution import addresses_to_listen_on

# No query is larger; a longer announced length is not a query.
MAX_QUERY: Final = 4096
# Memory for one connection, unread and unsent: two queries, and the last answer.
_READ_LIMIT: Final = MAX_QUERY
_UNSENT_LIMIT: Final = 0
# Answers to one connection per turn of the loop, so that others get their turns.
BATCH: Final = 16
# Questions of one connection that wait for resolvers while later ones are answered.
WAITING: Final = 32


class TcpLimits(msgspec.Struct, frozen=True):
    """Time limits of a connection. RFC 7766 section 6.2.3 asks for seconds, not minutes."""

    connections: int = 200
    # From one address beyond loopback, so that no client takes all (RFC 7766 section 6.2.2).
    of_one_host: int = 40
    idle_s: float = 10.0
    send_s: float = 5.0
    queries: int = 10_000  # on one connection; then the client has to reconnect


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
        """The number of open connections."""
        return len(self._tasks)

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError when the address cannot be listened on."""
        addresses = await addresses_to_listen_on(host)
        self._server = await asyncio.start_server(self._connected, addresses, port, limit=_READ_LIMIT, backlog=128)

    async def close(self) -> None:
        """Stop listening and close every connection. Safe to call twice."""
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
            pass  # closed, silent, or cut off in the middle of a query
        finally:
            self._tasks.discard(task)
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]
            # Answers have been sent already; a client that reads nothing is not waited for.
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        responder, limits = self._responder, self._limits
        port = (writer.get_extra_info("peername") or ("", 0))[1]  # tells connections of this machine apart
        answered = partial(responder.tcp, port=port) if responder.admits(host) else responder.refuse
        writer.transport.set_write_buffer_limits(high=_UNSENT_LIMIT)
        waiting: set[asyncio.Future[bytes]] = set()
        try:
            for number in range(1, limits.queries + 1):
                # One deadline for the whole query: occasional bytes do not keep a connection open.
                async with asyncio.timeout(limits.idle_s):
                    length = int.from_bytes(await reader.readexactly(2))
                    if length > MAX_QUERY:
                        return
                    query = await reader.readexactly(length)
                reply = answered(query, host, limits.idle_s)
                if reply is not None:
                    # Length and answer in one write: some clients fail to reassemble two segments
                    # (RFC 7766 section 8).
                    writer.write(len(reply).to_bytes(2) + reply)
                elif (later := responder.take_later()) is not None:
                    await _wait_for(later, waiting, writer)
                else:
                    return
                async with asyncio.timeout(limits.send_s):
                    await writer.drain()
                if number % BATCH == 0:
                    # Queries already received are read without waiting, so other tasks must be let in explicitly.
                    await asyncio.sleep(0)
        except asyncio.IncompleteReadError:
            # A client that has stopped sending may still be reading.
            async with asyncio.timeout(limits.send_s):
                if waiting:
                    await asyncio.wait(waiting)
                    await writer.drain()
            raise


async def _wait_for(
    reply: asyncio.Future[bytes], waiting: set[asyncio.Future[bytes]], writer: asyncio.StreamWriter
) -> None:
    """Send `reply` when it is ready, out of order (RFC 7766 section 7); wait when too many are pending."""
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
    """Answer messages on `host` from `responder`. Raises OSError when the address cannot be listened on."""
    server = TcpServer(responder, limits if limits is not None else TcpLimits())
    await server.start(host, port)
    return server
