"""One connection of a check, plain or with TLS, and a limit on all that is read over it.

TLS is opened here, and not by the event loop: a peer may send records without content for ever, which the loop's own
TLS would decrypt for as long as they come.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, Protocol, cast

# Certificates, and the largest answer that a check reads, with its records.
MAX_OCTETS: Final = 192 * 1024
_RECORD: Final = 16 * 1024


class BadPeer(ValueError):
    """Raised when the other end says what no answer to a check has."""


class Conversation(Protocol):
    """What a check says on a connection, and what it makes of the answers. It does no I/O."""

    @property
    def done(self) -> bool:
        """Whether enough is known."""
        ...

    def start(self) -> bytes:
        """Return what to send first."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Take what arrived, and return what to send. Raises ValueError."""
        ...

    def end(self) -> None:
        """Take the end of the connection. Raises ValueError when it came too early."""
        ...


async def converse(
    conversation: Conversation, address: str, port: int, *, tls: ssl.SSLContext | None, server_name: str | None
) -> Exception | None:
    """Hold a conversation with the server at an address, until enough is known; return what went wrong in it.

    Raises OSError when there is no connection, or no TLS.
    """
    loop = asyncio.get_running_loop()
    try:
        opening = None if tls is None else _Tls(tls, server_name)
    except ValueError as odd:  # a name that no certificate can have
        return odd
    transport, talk = await loop.create_connection(lambda: _Talk(conversation, opening, loop), address, port)
    try:
        error = await talk.finished
    finally:
        transport.abort()
    if opening is not None and not opening.is_open and isinstance(error, OSError):
        raise error
    return error


class _Tls:
    """The TLS of one connection, on octets in memory."""

    def __init__(self, context: ssl.SSLContext, server_name: str | None) -> None:
        self.is_open = False
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._to_send, server_hostname=server_name)

    def take(self, data: bytes) -> None:
        """Take octets of the connection; none are its end. Goes on with the handshake. Raises SSLError."""
        if data:
            self._received.write(data)
        else:
            self._received.write_eof()
        if not self.is_open:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                return
            self.is_open = True

    def begin(self) -> None:
        """Begin the handshake."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return

    def read(self) -> bytes | None:
        """Return what a record held; None when there is no further whole record. Raises SSLError."""
        try:
            return self._tls.read(_RECORD)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""

    def write(self, data: bytes) -> None:
        """Encrypt `data`."""
        self._tls.write(data)

    def to_send(self) -> bytes:
        """Return what is to be sent now."""
        return self._to_send.read()


class _Talk(asyncio.Protocol):
    """Passes octets between a connection and a conversation. `finished` has what went wrong, or None."""

    def __init__(self, conversation: Conversation, tls: _Tls | None, loop: asyncio.AbstractEventLoop) -> None:
        self.finished: asyncio.Future[Exception | None] = loop.create_future()
        self._conversation = conversation
        self._tls = tls
        self._transport: asyncio.Transport | None = None
        self._octets = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        if self._tls is None:
            self._send(self._conversation.start())
        else:
            self._tls.begin()
            self._flush()

    def data_received(self, data: bytes) -> None:
        if self.finished.done():
            return
        allowed = data[: MAX_OCTETS - self._octets]
        self._octets += len(allowed)
        try:
            if self._tls is None:
                self._feed(allowed)
            else:
                self._open(self._tls, allowed)
        except (OSError, ValueError) as error:
            # OpenSSL's alert to the peer, if there is one.
            self._flush()
            self._finish(error)
        if self._octets == MAX_OCTETS:
            self._finish(BadPeer(f"it sends {MAX_OCTETS} bytes and more"))

    def eof_received(self) -> None:
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)

    def _open(self, tls: _Tls, data: bytes) -> None:
        was_open = tls.is_open
        tls.take(data)
        if tls.is_open and not was_open:
            tls.write(self._conversation.start())
        while tls.is_open and not self.finished.done() and (content := tls.read()) is not None:
            if not content:
                self._end(None)
                return
            self._feed(content)
        self._flush()

    def _feed(self, data: bytes) -> None:
        self._send(self._conversation.feed(data))
        if self._conversation.done:
            self._finish(None)

    def _send(self, data: bytes) -> None:
        if not data or self._transport is None:
            return
        if self._tls is None:
            self._transport.write(data)
        else:
            self._tls.write(data)
            self._flush()

    def _flush(self) -> None:
        if self._tls is not None and self._transport is not None and (data := self._tls.to_send()):
            self._transport.write(data)

    def _end(self, error: Exception | None) -> None:
        if self.finished.done():
            return
        if self._tls is not None and not self._tls.is_open:
            self._finish(error or BadPeer("the connection was closed during the TLS handshake"))
            return
        try:
            self._conversation.end()
        except ValueError as early:
            self._finish(error if error is not None else early)
        else:
            self._finish(None)

    def _finish(self, error: Exception | None) -> None:
        # At once, and not only when the waiting task has its turn: a flood must not be read on.
        if self._transport is not None:
            self._transport.abort()
        if not self.finished.done():
            self.finished.set_result(error)
