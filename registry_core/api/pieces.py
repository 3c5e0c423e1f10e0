"""Sends large answers in pieces that many readers share, one piece at a time for each reader.

aiohttp copies each chunk of a stream to frame it, and joins the headers with the first one: a piece of 128 KB that
4,000 connections wait to send then takes 500 MB. Here the pieces are handed to the transport as they are, and uvloop
keeps only a reference.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from aiohttp import HttpVersion11, web

from registry_core.api.unread import UnreadAnswers
from registry_core.api.watcher import StreamEnd

# What the kernel takes of an answer beyond what the reader's window has room for. Without this limit it took 900 KB of
# each unread catalogue, which no process's memory shows.
_UNSENT_BYTES: Final = 64 * 1024
# Under TLS every reader has its own encrypted copy of what was handed over, so it is handed over in small parts, of
# which few wait.
_TLS_PART_BYTES: Final = 16 * 1024
_TLS_WAITING_BYTES: Final = 16 * 1024
# A smaller piece is cheaper to copy than to frame by itself.
_SMALL: Final = 8 * 1024


class WatchStream(web.StreamResponse):
    """A stream without an end, which frames its pieces itself (RFC 9112 section 7.1)."""

    _length_check = False  # aiohttp neither counts nor frames, as for its own WebSocketResponse

    def __init__(self, headers: Mapping[str, str], unread: UnreadAnswers) -> None:
        super().__init__(headers=headers)
        self._unread = unread
        self._is_framed = True

    async def begin(self, request: web.Request) -> None:
        """Send the headers."""
        self._is_framed = request.version >= HttpVersion11
        if self._is_framed:
            self.headers["Transfer-Encoding"] = "chunked"
        else:
            self.force_close()  # the end of the connection is the end of the stream
        await begun(self, request)

    async def send(self, request: web.Request, piece: bytes) -> None:
        """Send one piece, and return once the connection takes more."""
        if not self._is_framed:
            await sent(self, request, (piece,), self._unread)
        elif len(piece) <= _SMALL:
            await sent(self, request, (b"%x\r\n%b\r\n" % (len(piece), piece),), self._unread)
        else:
            await sent(self, request, (b"%x\r\n" % len(piece), piece, b"\r\n"), self._unread)

    def end(self, request: web.Request) -> StreamEnd:
        """Return the reader's end of the stream. Raises ConnectionError when the reader is gone."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        return StreamEnd(transport, self._is_framed, _most_waiting(transport))

    async def read_up(self, request: web.Request) -> None:
        """Return once the connection takes more. Raises ConnectionError when the reader is gone."""
        transport, writer = request.transport, self._payload_writer
        if transport is None or writer is None or transport.is_closing():
            raise ConnectionResetError
        number = self._unread.waits(transport.abort)
        try:
            await writer.drain()
        finally:
            self._unread.was_read(number)

    async def finish(self) -> None:
        """End the stream."""
        if self._is_framed:
            await self.write(b"0\r\n\r\n")
        await self.write_eof()


async def begun(response: web.StreamResponse, request: web.Request) -> None:
    """Send the headers alone, so that the first piece is not copied to join them; let the kernel buffer little."""
    transport = request.transport
    connection = None if transport is None else transport.get_extra_info("socket")
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if connection is not None and option is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, option, _UNSENT_BYTES)
    if transport is not None:
        transport.set_write_buffer_limits(high=_most_waiting(transport))
    await response.prepare(request)
    if request.method != "HEAD":
        await response.write(b"")


async def sent(
    response: web.StreamResponse, request: web.Request, pieces: Iterable[bytes], unread: UnreadAnswers
) -> None:
    """Send each piece as soon as the connection takes it. Raises ConnectionError when the reader is gone."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError
    for piece in _parts(pieces) if _is_encrypted(transport) else pieces:
        number = unread.waits(transport.abort)
        try:
            await response.write(piece)
        finally:
            unread.was_read(number)


def _parts(pieces: Iterable[bytes]) -> Iterator[bytes | memoryview]:
    for piece in pieces:
        if len(piece) <= _TLS_PART_BYTES:
            yield piece
            continue
        view = memoryview(piece)
        for start in range(0, len(view), _TLS_PART_BYTES):
            yield view[start : start + _TLS_PART_BYTES]


def _most_waiting(transport: asyncio.BaseTransport) -> int:
    return _TLS_WAITING_BYTES if _is_encrypted(transport) else _UNSENT_BYTES


def _is_encrypted(transport: asyncio.BaseTransport) -> bool:
    return transport.get_extra_info("sslcontext") is not None
