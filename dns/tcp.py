"""DNS over TCP (RFC 7766): length-prefixed messages, several on one connection.

The only thing it decides is which connections to close: idle ones and slow ones. Whose place a newcomer gets when
there is no room is decided in `connection_slots.py`, what one connection does with its octets in `tcp_connection.py`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Final

import msgspec

from dns.responder import Responder
from dns.tcp_connection import READ_OCTETS, DnsConnection
from registry_core.deadlines import Deadlines
from registry_core.domain.connection_slots import LOOPBACK, Closing, ConnectionSlots, SlotTerms, SlotVerdict, owner_of
from registry_core.listener import ACCEPTS_PER_TURN, Listening, accepting_several
from registry_core.loopback_survey import LoopbackSurvey
from registry_core.resolution import addresses_to_listen_on
from registry_core.turns import LoopTurns

# How many connections that have sent several queries are answered in one turn of the loop.
BATCHES_PER_TURN: Final = 2
# Of more loopback connections than this it is found out which processes hold them.
MANY_LOOPBACK: Final = 16


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
        self.responder = responder
        self.limits = limits
        self.turns = LoopTurns(BATCHES_PER_TURN)
        # Octets are read into it and taken out at once, so all connections share it.
        self.read_buffer = bytearray(READ_OCTETS)
        self._server: Listening | None = None
        self._open: dict[DnsConnection, asyncio.Future[None]] = {}
        self._slots: ConnectionSlots[DnsConnection] = ConnectionSlots(limits.slots, DnsConnection.busy_since)
        self._owners: dict[str, str] = {}
        self._idle = Deadlines(limits.idle_s, DnsConnection.abort)
        self._unread = Deadlines(limits.send_s, DnsConnection.abort)
        self._survey = LoopbackSurvey(self._belong)
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
        return len(self._open)

    @property
    def in_use(self) -> int:
        """The number of connections with a query in flight."""
        return sum(each.busy_since() is not None for each in self._open)

    @property
    def most_connections(self) -> int:
        """The limit of open connections."""
        return self.limits.connections

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError when the address cannot be listened on."""
        addresses = await addresses_to_listen_on(host)
        loop = asyncio.get_running_loop()
        serve = partial(loop.create_server, lambda: DnsConnection(self), backlog=ACCEPTS_PER_TURN)
        self._server = await accepting_several(await serve(addresses, port), serve)

    async def close(self) -> None:
        """Stop listening and close every connection. Safe to call twice."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        ends = list(self._open.values())
        for connection in tuple(self._open):
            connection.abort()
        await asyncio.gather(*ends)
        self._idle.close()
        self._unread.close()

    # -- what tcp_connection.py tells

    def enters(self, connection: DnsConnection) -> bool:
        """Return whether a new connection is served. When there is no room, another is closed for it, if one may be."""
        if self._closed:
            return False
        owner = owner_of(connection.host)
        if owner == LOOPBACK and self._is_unclear():
            self._survey.begin(self.port)
        verdict: SlotVerdict[DnsConnection] = self._slots.enter(connection, owner, monotonic())
        if verdict.why is not None:
            self.closed[verdict.why] += 1
        if verdict.victim is not None:
            verdict.victim.abort()
        if not verdict.admitted:
            return False
        self._open[connection] = asyncio.get_running_loop().create_future()
        self._idle.start(connection)
        return True

    def asks(self, connection: DnsConnection) -> None:
        """A whole query has arrived. Occasional octets keep no connection open: its time begins anew only here."""
        self.received += 1
        self._idle.stop(connection)
        self._idle.start(connection)

    def rested(self, connection: DnsConnection) -> None:
        """All that was asked is answered, or waits for its peer to read."""
        self._slots.rested(connection, monotonic())

    def stalled(self, connection: DnsConnection) -> None:
        """The peer does not read its answers: for a newcomer, it is as good as idle."""
        self._unread.start(connection)
        self.rested(connection)

    def reads_again(self, connection: DnsConnection) -> None:
        """The peer has read."""
        self._unread.stop(connection)

    def left(self, connection: DnsConnection) -> None:
        """A connection has ended."""
        self._slots.leave(connection)
        self._idle.stop(connection)
        self._unread.stop(connection)
        ended = self._open.pop(connection, None)
        if ended is not None and not ended.done():
            ended.set_result(None)

    def owner(self, connection: DnsConnection) -> str:
        """Return whose a connection is: an address, a network, or a process where it is known."""
        return self._slots.owner(connection)

    # -- whose the loopback connections are

    def _is_unclear(self) -> bool:
        return self._slots.is_full or self._slots.held_by(LOOPBACK) >= MANY_LOOPBACK

    def _belong(self, owners: Mapping[int, str]) -> None:
        local = (each for each in self._open if owner_of(each.host) == LOOPBACK)
        self._slots.belong({each: owners[each.port] for each in local if each.port in owners})


async def serve_tcp(responder: Responder, host: str, port: int, limits: TcpLimits | None = None) -> TcpServer:
    """Answer messages on `host` from `responder`. Raises OSError when the address cannot be listened on."""
    server = TcpServer(responder, limits if limits is not None else TcpLimits())
    await server.start(host, port)
    return server
