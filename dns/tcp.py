"""DNS over TCP (RFC 7766): length-prefixed messages, several on one connection.

The only thing it decides is which connections to close: idle ones and slow ones. Whose place a newcomer gets when
there is no room is decided in `connection_slots.py`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final

import msgspec

from dns.responder import Responder
from registry_core.domain.connection_slots import Closing, ConnectionSlots, SlotTerms, owner_of
from registry_core.listener import ACCEPTS_PER_TURN, Listening, accepting_several
from registry_core.resolution import addresses_to_listen_on
from registry_core.turns import LoopTurns

# No query is larger; a longer announced length is not a query.
MAX_QUERY: Final = 4096
# Memory for one connection, unread and unsent: two queries, and the last answer.
_READ_LIMIT: Final = MAX_QUERY
_UNSENT_LIMIT: Final = 0
# Answers to one connection per turn of the loop, so that others get their turns; and of how many connections.
BATCH: Final = 8
BATCHES_PER_TURN: Final = 2
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

    @property
    def slots(self) -> SlotTerms:
        """How the connections are shared: an owner may lose those in use beyond an eighth of all."""
        share = min(self.of_one_host, max(1, self.connections // 2))
        return SlotTerms(self.connections, of_one_owner=share, large=self.connections // 8)


class TcpServer:
    """One listening socket and its connections."""

    def __init__(self, responder: Responder, limits: TcpLimits) -> None:
        self._responder = responder
        self._limits = limits
        self._server: Listening | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: dict[asyncio.StreamWriter, float] = {}
        self._slots: ConnectionSlots[asyncio.StreamWriter] = ConnectionSlots(limits.slots, self._busy.get)
        self._turns = LoopTurns(BATCHES_PER_TURN)
        self._closed = False
        self.received = 0  # messages that were read
        # How many were closed, or not accepted, for which reason.
        self.closed: Counter[Closing] = Counter()

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._tasks)

    @property
    def most_connections(self) -> int:
        """The limit of open connections."""
        return self._limits.connections

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError when the address cannot be listened on."""
        addresses = await addresses_to_listen_on(host)
        serve = partial(asyncio.start_server, self._connected, limit=_READ_LIMIT, backlog=ACCEPTS_PER_TURN)
        self._server = await accepting_several(await serve(addresses, port), serve)

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
        if self._closed or not self._enters(writer, host):
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer, host)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # closed, silent, or cut off in the middle of a query
        finally:
            self._tasks.discard(task)
            self._slots.leave(writer)
            self._busy.pop(writer, None)
            # Answers have been sent already; a client that reads nothing is not waited for.
            writer.transport.abort()

    def _enters(self, writer: asyncio.StreamWriter, host: str) -> bool:
        """Return whether a new connection is served. When there is no room, another is closed for it, if one may be."""
        verdict = self._slots.enter(writer, owner_of(host), monotonic())
        if verdict.why is not None:
            self.closed[verdict.why] += 1
        if verdict.victim is not None:
            verdict.victim.transport.abort()
        return verdict.admitted

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        responder, limits = self._responder, self._limits
        port = (writer.get_extra_info("peername") or ("", 0))[1]  # tells connections of this machine apart
        answered = partial(responder.tcp, port=port) if responder.admits(host) else responder.refuse
        writer.transport.set_write_buffer_limits(high=_UNSENT_LIMIT)
        waiting: set[asyncio.Future[bytes]] = set()
        busy = self._busy

        def rest(*_: object) -> None:
            if not waiting:  # one that does not read is as good as idle
                busy.pop(writer, None)
                self._slots.rested(writer, monotonic())

        try:
            for number in range(1, limits.queries + 1):
                # One deadline for the whole query: occasional bytes do not keep a connection open.
                async with asyncio.timeout(limits.idle_s):
                    length = int.from_bytes(await reader.readexactly(2))
                    if length > MAX_QUERY:
                        return
                    query = await reader.readexactly(length)
                self.received += 1
                busy.setdefault(writer, monotonic())
                reply = answered(query, host, limits.idle_s)
                if reply is not None:
                    # Length and answer in one write: some clients fail to reassemble two segments
                    # (RFC 7766 section 8).
                    writer.write(len(reply).to_bytes(2) + reply)
                elif (later := responder.take_later()) is not None:
                    await _wait_for(later, waiting, writer, rest)
                else:
                    return
                rest()
                async with asyncio.timeout(limits.send_s):
                    await writer.drain()
                if number % BATCH == 0:
                    # Queries already received are read without waiting, so other tasks must be let in explicitly.
                    await self._turns.next()
        except asyncio.IncompleteReadError:
            # A client that has stopped sending may still be reading.
            async with asyncio.timeout(limits.send_s):
                if waiting:
                    await asyncio.wait(waiting)
                    await writer.drain()
            raise


async def _wait_for(
    reply: asyncio.Future[bytes],
    waiting: set[asyncio.Future[bytes]],
    writer: asyncio.StreamWriter,
    rest: Callable[..., None],
) -> None:
    """Send `reply` when it is ready, out of order (RFC 7766 section 7); wait when too many are pending.

    `rest` is called after each, and may find that none is pending.
    """
    waiting.add(reply)
    reply.add_done_callback(partial(_write_later, writer))
    reply.add_done_callback(waiting.discard)
    reply.add_done_callback(rest)
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
