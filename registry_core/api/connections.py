"""The connections of one HTTP port: how many, whose goes when there is no room, and how long each may take.

Measured with aiohttp 3.14: a connection that sends nothing, or half a header, is held for over 200 s, an answer that
the peer does not read is held for ever, and nothing bounds how many there are. `http_connection.py` tells of each
connection's moments; whose place a newcomer gets is decided in `connection_slots.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Final

import msgspec

from registry_core.api.known_heads import KnownHeads
from registry_core.blocking import NoThread, Threads
from registry_core.deadlines import Deadlines
from registry_core.domain.connection_slots import LOOPBACK, Closing, ConnectionSlots, SlotTerms, owner_of
from registry_core.freed_memory import give_back
from registry_core.listener import Listening
from registry_core.loopback_survey import LoopbackSurvey
from registry_core.turns import LoopTurns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from registry_core.api.http_connection import HttpConnection

# Requests of connections that send several at once, begun in one turn of the loop.
PIPELINED_PER_TURN: Final = 4
# After so many connections, what they used is given back to the system when half of them have gone.
MANY: Final = 200
_CALM_S: Final = 1.0
# How long a reader has to take the rest of its answers once the program ends.
LAST_OCTETS_S: Final = 0.2
_LOOK_S: Final = 0.01


class ConnectionLimits(msgspec.Struct, frozen=True):
    """The limits of a connection, and of all."""

    connections: int = 25_000
    # From the connection to its first whole request, and from the first byte of a later one until that is whole.
    header_s: float = 10.0
    # How long the write buffer may stay full.
    unread_s: float = 30.0
    # Between requests; above the 60 s of nginx, so that it is nginx that closes an idle one.
    keepalive_s: float = 75.0
    # How long to read what still comes after a request was refused, so that a reset does not discard the refusal.
    linger_s: float = 1.0

    @property
    def slots(self) -> SlotTerms:
        """How the connections are shared: one address gets half, and may lose what it holds beyond an eighth."""
        return SlotTerms(self.connections, of_one_owner=max(1, self.connections // 2), large=self.connections // 8)


class Connections:
    """All connections of one listener."""

    def __init__(
        self, limits: ConnectionLimits | None = None, *, is_shared: Callable[[str], bool] = lambda _address: False
    ) -> None:
        """`is_shared` tells whether an address stands for many clients, as a trusted proxy's does: it has no share."""
        self._is_shared = is_shared
        self.limits = limits if limits is not None else ConnectionLimits()
        self.open: dict[HttpConnection, asyncio.Transport] = {}
        # How many were closed, or not accepted, for which reason.
        self.closed: Counter[Closing] = Counter()
        self.slots: ConnectionSlots[HttpConnection] = ConnectionSlots(self.limits.slots, _busy_since)
        self._headers = Deadlines(self.limits.header_s, self._late)
        self._unread = Deadlines(self.limits.unread_s, self._not_read)
        self._lingering: Deadlines[HttpConnection] = Deadlines(self.limits.linger_s, _end)
        self.heads = KnownHeads()
        self._turns = LoopTurns(PIPELINED_PER_TURN)
        self._leftover: set[asyncio.Task[None]] = set()
        self._survey = LoopbackSurvey(self._belong)
        # The most connections since memory was last given back.
        self._peak = 0
        self._memory = Threads("give memory back", 1)

    # -- what http_connection.py tells

    def enters(self, connection: HttpConnection, transport: asyncio.Transport) -> bool:
        """Return whether a new connection is served. When there is no room, another is closed for it, if one may be."""
        peer = transport.get_extra_info("peername")
        address = peer[0] if peer else ""
        owner, is_shared = owner_of(address), self._is_shared(address)
        if owner == LOOPBACK and self.slots.is_full and not is_shared:
            self._survey.begin(transport.get_extra_info("sockname")[1])
        verdict = self.slots.enter(connection, owner, monotonic(), is_shared=is_shared)
        if verdict.why is not None:
            self.closed[verdict.why] += 1
        if verdict.victim is not None:
            _end(verdict.victim)
        if not verdict.admitted:
            return False
        self.open[connection] = transport
        self._peak = max(self._peak, len(self.open))
        self._headers.start(connection)
        _drop_dead_peer(transport, self.limits.unread_s)
        return True

    def has_header(self, connection: HttpConnection) -> None:
        """The header of which a part had arrived is whole."""
        self._headers.stop(connection)

    def received_a_part(self, connection: HttpConnection) -> None:
        """A part of a header has arrived."""
        self._headers.start(connection)

    def stalled(self, connection: HttpConnection) -> None:
        """The peer does not read its answers: for a newcomer, it is as good as idle."""
        self._unread.start(connection)
        self.slots.rested(connection, monotonic())

    def reads_again(self, connection: HttpConnection) -> None:
        """The peer has read."""
        self._unread.stop(connection)

    def refused(self, connection: HttpConnection, why: Closing) -> None:
        """A connection has had its last answer; what still comes is not looked at."""
        self.closed[why] += 1
        self._headers.stop(connection)
        self._lingering.start(connection)

    def left(self, connection: HttpConnection, *tasks: asyncio.Task[None] | None) -> None:
        """A connection has ended; `tasks` have served it, and may still do so."""
        self.open.pop(connection, None)
        self.slots.leave(connection)
        for deadlines in (self._headers, self._unread, self._lingering):
            deadlines.stop(connection)
        for task in tasks:
            if task is not None and not task.done():
                self._leftover.add(task)
                task.add_done_callback(self._leftover.discard)
        if self._peak > MANY and 2 * len(self.open) < self._peak:
            self._peak = 0
            asyncio.get_running_loop().call_later(_CALM_S, self._give_memory_back)

    async def turn(self, connection: HttpConnection) -> None:
        """Wait until the next of several requests on one connection may begin."""
        self.slots.rested(connection, monotonic())
        await self._turns.next(self.slots.owner(connection))

    async def end(self) -> None:
        """End what aiohttp closes and forgets: readers that do not take the rest, and tasks that linger over a body."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_OCTETS_S):
                while self.open:  # noqa: ASYNC110 - connections leave in callbacks of many transports, which no event sums up
                    await asyncio.sleep(_LOOK_S)
        for transport in tuple(self.open.values()):
            transport.abort()
        await asyncio.sleep(0)  # they leave
        for deadlines in (self._headers, self._unread, self._lingering):
            deadlines.close()
        left = list(self._leftover)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _give_memory_back(self) -> None:
        with contextlib.suppress(NoThread):
            self._memory.begin(give_back)

    # -- deadlines

    def _late(self, connection: HttpConnection) -> None:
        self.closed[Closing.HEADER] += 1
        _end(connection)

    def _not_read(self, connection: HttpConnection) -> None:
        self.closed[Closing.UNREAD] += 1
        _end(connection)

    def _belong(self, owners: Mapping[int, str]) -> None:
        """Note whose the loopback connections are, by the ports at their other ends."""
        known = {}
        for connection in self.open:
            peer = connection.peername
            if isinstance(peer, tuple) and peer[1] in owners and owner_of(peer[0]) == LOOPBACK:
                known[connection] = owners[peer[1]]
        self.slots.belong(known)


def wait_to_be_accepted(server: Listening | asyncio.Server | None) -> bool:
    """Return whether a listener has connections that wait to be accepted."""
    poll = select.poll()
    for listening in server.sockets if server is not None else ():
        poll.register(listening.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _busy_since(connection: HttpConnection) -> float | None:
    return connection.began_at if connection.is_busy else None


def _end(connection: HttpConnection) -> None:
    if connection.transport is not None:
        connection.transport.abort()


def _drop_dead_peer(transport: asyncio.Transport, after_s: float) -> None:
    # A machine that vanished acknowledges nothing; the kernel would go on trying for a quarter of an hour.
    connection = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if connection is not None and option is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, option, int(after_s * 1000))
