"""Connection limits that aiohttp lacks: how many, how long until a first request, how long unread.

Measured with aiohttp 3.14: a connection that sends nothing, or half a header, is held for over 200 s,
and an answer that the peer does not read is held for ever. This wrapper sits between the transport
and aiohttp's protocol, and passes everything on unchanged.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import weakref
from collections.abc import Callable
from typing import cast

import msgspec


class ConnectionLimits(msgspec.Struct, frozen=True):
    """The limits of a connection."""

    connections: int = 25_000
    # From the connection to its first whole request.
    first_request_s: float = 10.0
    # How long the write buffer may stay full.
    unread_s: float = 30.0
    # Between requests; above the 60 s of nginx, so that it is nginx that closes an idle one.
    keepalive_s: float = 75.0


class Connections:
    """All connections of one listener."""

    def __init__(self, limits: ConnectionLimits | None = None) -> None:
        self.limits = limits if limits is not None else ConnectionLimits()
        self.open: set[Connection] = set()
        self.refused = 0
        self.evicted = 0
        # Connections still without a first request, the oldest first.
        self._waiting: dict[asyncio.BaseTransport, tuple[asyncio.TimerHandle, Connection]] = {}
        self._serving: weakref.WeakSet[asyncio.Task[None]] = weakref.WeakSet()

    def guarding(self, inner: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """Return a protocol factory that makes what `inner` makes, within the limits."""
        return lambda: Connection(self, inner)

    def has_room(self) -> bool:
        """Return whether one more is accepted. When full, the oldest one without a request is closed for it."""
        if len(self.open) < self.limits.connections:
            return True
        for transport, (_, connection) in self._waiting.items():
            self.evicted += 1
            self.lost(connection, transport)
            cast("asyncio.Transport", transport).abort()
            return True
        return False

    def await_request(self, connection: Connection, transport: asyncio.Transport) -> None:
        """Close the connection unless its first request arrives in time."""
        loop = asyncio.get_running_loop()
        ending = loop.call_later(self.limits.first_request_s, transport.abort)
        self._waiting[transport] = (ending, connection)

    def request_came(self, transport: asyncio.BaseTransport | None, server: asyncio.Task[None]) -> None:
        """Note that a whole request arrived from `transport`, served by the task `server`."""
        waiting = self._waiting.pop(transport, None) if transport is not None else None
        if waiting is not None:
            waiting[0].cancel()
            self._serving.add(server)

    def lost(self, connection: Connection, transport: asyncio.BaseTransport | None) -> None:
        """A connection has ended."""
        self.open.discard(connection)
        waiting = self._waiting.pop(transport, None) if transport is not None else None
        if waiting is not None:
            waiting[0].cancel()

    async def end(self) -> None:
        """Cancel the tasks of closed connections: aiohttp forgets those that linger over an unread body."""
        left = [task for task in self._serving if not task.done()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def wait_to_be_accepted(server: asyncio.Server | None) -> bool:
    """Return whether a listener has connections that wait to be accepted."""
    poll = select.poll()
    for listening in server.sockets if server is not None else ():
        poll.register(listening.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class Connection(asyncio.Protocol):
    """One connection: watched here, served by the protocol that `inner` makes."""

    def __init__(self, all_of_them: Connections, inner: Callable[[], asyncio.Protocol]) -> None:
        self._all = all_of_them
        self._make = inner
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not self._all.has_room():
            self._all.refused += 1
            self._transport.abort()
            return
        self._all.open.add(self)
        _drop_dead_peer(self._transport, self._all.limits.unread_s)
        self._all.await_request(self, self._transport)
        self._inner = self._make()
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner is not None else None

    def pause_writing(self) -> None:
        if self._inner is None or self._transport is None:
            return
        loop = asyncio.get_running_loop()
        self._unread = loop.call_later(self._all.limits.unread_s, self._transport.abort)
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.lost(self, self._transport)
        if self._unread is not None:
            self._unread.cancel()
        if self._inner is not None:
            self._inner.connection_lost(exc)


def _drop_dead_peer(transport: asyncio.Transport, after_s: float) -> None:
    # A machine that vanished acknowledges nothing; the kernel would go on trying for a quarter of an hour.
    connection = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if connection is not None and option is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, option, int(after_s * 1000))
