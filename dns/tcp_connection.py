"""One TCP connection for DNS: takes whole queries out of its octets, a bounded number in one turn of the loop.

It decides nothing about other connections: `tcp.py` has its deadlines, its place and its turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from registry_core.domain.connection_slots import LOOPBACK

if TYPE_CHECKING:
    from dns.tcp import TcpServer

# No query is larger; a longer announced length is not a query.
MAX_QUERY: Final = 4096
_LENGTH: Final = 2
# One read. What is not answered yet is at most this and a query whose end is missing.
READ_OCTETS: Final = 8192
# Answers to one connection per turn of the loop, so that others get their turns.
BATCH: Final = 8
# Answers are sent together up to so many octets. The length goes with its answer always: some clients fail to
# reassemble two segments (RFC 7766 section 8).
_TOGETHER: Final = 1280
# Questions of one connection that wait for resolvers while later ones are answered.
WAITING: Final = 32
# Nothing waits to be sent but the last answers: who does not read is not answered.
_UNSENT_LIMIT: Final = 0


class DnsConnection(asyncio.BufferedProtocol):
    """One connection, from its first octet to its last."""

    __slots__ = (
        "_answered",
        "_busy_since",
        "_has_ended",
        "_is_over",
        "_is_stalled",
        "_left",
        "_rest",
        "_server",
        "_transport",
        "_waiting",
        "_waits_as",
        "host",
        "port",
    )

    def __init__(self, server: TcpServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self.host = ""
        self.port = 0  # of the other end
        self._rest = b""  # what is no whole query yet, or waits for its turn
        self._left = server.limits.queries
        self._answered: Callable[[bytes], bytes | None] = lambda _: None
        self._waiting: set[asyncio.Future[bytes]] = set()
        self._busy_since: float | None = None
        self._waits_as: str | None = None  # the owner in whose turn it goes on; None while it does not wait for that
        self._has_ended = False  # the peer sends no more
        self._is_stalled = False
        self._is_over = False  # no query is taken any more

    def busy_since(self) -> float | None:
        """Return since when a query has been in flight; None while there is none, or the peer does not read."""
        return None if self._is_stalled else self._busy_since

    def abort(self) -> None:
        """Close at once."""
        self._is_over = True
        if self._transport is not None:
            self._transport.abort()

    # -- for the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = whole = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        peer = whole.get_extra_info("peername")
        if peer:
            self.host, self.port = peer[:2]
        if not self._server.enters(self):
            self.abort()
            return
        whole.set_write_buffer_limits(high=_UNSENT_LIMIT)
        responder, idle_s = self._server.responder, self._server.limits.idle_s
        if responder.admits(self.host):
            self._answered = lambda query: responder.tcp(query, self.host, idle_s, port=self._teller)
        else:
            self._answered = lambda query: responder.refuse(query, self.host, idle_s)

    def get_buffer(self, _: int) -> bytearray:
        return self._server.read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._rest += memoryview(self._server.read_buffer)[:nbytes]
        if self._waits_as is None:
            self._go_on()

    def eof_received(self) -> bool:
        """Answer what was asked: a client that has stopped sending may still be reading."""
        self._has_ended = True
        if self._waits_as is None:
            self._go_on()
        return True

    def pause_writing(self) -> None:
        self._is_stalled = True
        self._server.stalled(self)

    def resume_writing(self) -> None:
        self._is_stalled = False
        self._server.reads_again(self)
        if self._waits_as is None:
            self._go_on()

    def connection_lost(self, _: Exception | None) -> None:
        self._is_over = True
        self._rest = b""
        self._server.left(self)
        if self._waits_as is not None:
            self._server.turns.drop(self._go_on, self._waits_as)
        for each in tuple(self._waiting):
            each.cancel()  # work that nobody waits for is not done

    # -- queries

    def _go_on(self) -> None:
        """Answer the whole queries that have arrived: one batch now, the others when it is their turn."""
        self._waits_as = None
        answers: list[bytes] = []
        size = taken = 0
        while taken < BATCH and self._may_take() and (query := self._next_query()) is not None:
            taken += 1
            if self._busy_since is None:
                self._busy_since = monotonic()
            reply = self._answered(query)
            if reply is not None:
                answers += (len(reply).to_bytes(_LENGTH), reply)
                size += len(reply)
                if size > _TOGETHER:
                    self._send(answers)
                    answers, size = [], 0
            elif (later := self._server.responder.take_later()) is not None:
                self._wait_for(later)
            else:
                self._is_over = True
                self._waiting.clear()
        self._send(answers)
        if taken:
            self._server.asks(self)
            self._rest_if_answered()
        self._decide_what_follows()

    def _may_take(self) -> bool:
        return not self._is_stalled and not self._is_over and len(self._waiting) < WAITING

    def _next_query(self) -> bytes | None:
        """Take the next query; None when it has not arrived as a whole. End the connection after its last one."""
        rest = self._rest
        length = int.from_bytes(rest[:_LENGTH])
        if length > MAX_QUERY:
            self._is_over = True
            return None
        if len(rest) < _LENGTH + length or len(rest) < _LENGTH:
            return None
        self._rest = rest[_LENGTH + length :]
        self._left -= 1
        self._is_over = not self._left
        return rest[_LENGTH : _LENGTH + length]

    def _has_query(self) -> bool:
        """Return whether a whole query, or what is none, has arrived."""
        return len(self._rest) >= _LENGTH and len(self._rest) >= _LENGTH + int.from_bytes(self._rest[:_LENGTH])

    def _decide_what_follows(self) -> None:
        """Read on, wait for a turn, for the resolvers or for the peer to read; or end."""
        transport = self._transport
        assert transport is not None  # it has octets
        if transport.is_closing():
            return
        has_query = self._has_query()
        self._is_over = self._is_over or (self._has_ended and not has_query)
        if self._is_over:
            if not self._waiting and not self._is_stalled:
                transport.close()
        elif has_query and self._may_take():
            self._waits_as = self._server.owner(self)
            self._server.turns.call(self._go_on, self._waits_as)
        if has_query or not self._may_take():
            transport.pause_reading()
        else:
            transport.resume_reading()

    def _wait_for(self, reply: asyncio.Future[bytes]) -> None:
        """Send `reply` when it is ready, out of order (RFC 7766 section 7)."""
        self._waiting.add(reply)
        reply.add_done_callback(self._answer_later)

    def _answer_later(self, answered: asyncio.Future[bytes]) -> None:
        self._waiting.discard(answered)
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not answered.cancelled():
            reply = answered.result()
            self._send([len(reply).to_bytes(_LENGTH), reply])
        self._rest_if_answered()
        if self._waits_as is None:
            self._go_on()

    def _send(self, answers: list[bytes]) -> None:
        if answers and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(answers))

    def _rest_if_answered(self) -> None:
        if not self._waiting:
            self._busy_since = None
            self._server.rested(self)

    @property
    def _teller(self) -> int | str:
        """What tells its questions from others' on this machine, for fair turns."""
        owner = self._server.owner(self)
        return self.port if owner == LOOPBACK else owner
