"""TLS on one accepted connection: octets of the socket in, octets of the application out. OpenSSL does the rest.

It stands between a transport and a protocol, as the event loop's own TLS does, for three reasons: the loop's holds
256 kB for each connection (this one about 16), begins as many handshakes at once as arrive, and tells nobody what came
instead of a handshake.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, cast

# The most that one TLS record holds (RFC 8446 section 5.1).
_RECORD: Final = 16 * 1024
# OpenSSL's buffers in memory grow and never shrink, so they are given no more than this at a time: with 34 kB, a
# snapshot of 100 instances, an idle watch held 72 kB instead of 30.
PIECE: Final = 4 * 1024
# How much more than the application got may have arrived: a record whose end is missing, and what TLS adds to each.
# OpenSSL 3 answers any number of key updates (RFC 8446 section 4.6.3), at 5 us and 27 octets each.
OVERHEAD: Final = 32 * 1024


class TlsTransport(asyncio.Transport):
    """What the application sees: it writes octets here, and `protocol` gets those that arrive."""

    __slots__ = (
        "__weakref__",
        "_closing",
        "_incoming",
        "_outgoing",
        "_overhead",
        "_paused",
        "_protocol",
        "_raw",
        "_rest",
        "_tls",
    )

    def __init__(
        self, raw: asyncio.Transport, tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
    ) -> None:
        super().__init__()
        self._raw = raw
        self._tls = tls
        self._incoming = incoming
        self._outgoing = outgoing
        self._protocol: asyncio.Protocol | None = None
        self._rest = memoryview(b"")  # what OpenSSL was not given yet: at most one read of the socket
        self._overhead = 0
        self._paused = False
        self._closing = False

    # -- for the connection below

    def begin(self, protocol: asyncio.Protocol) -> None:
        """Serve with `protocol` from now on."""
        self._protocol = protocol
        protocol.connection_made(self)
        self._deliver()

    def feed(self, data: bytes) -> None:
        """Take octets of the socket."""
        self._rest = memoryview(bytes(self._rest) + data if self._rest else data)
        self._deliver()

    def eof(self) -> None:
        """The socket has ended without the farewell of TLS; whether something is missing cannot be known."""
        if self._protocol is not None and not self._closing:
            self._protocol.eof_received()

    def paused(self) -> None:
        """The socket takes no more for now."""
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resumed(self) -> None:
        """The socket takes octets again."""
        if self._protocol is not None:
            self._protocol.resume_writing()

    def lost(self, error: Exception | None) -> None:
        """The socket is closed."""
        protocol, self._protocol, self._closing = self._protocol, None, True
        if protocol is not None:
            protocol.connection_lost(error)

    def _deliver(self) -> None:
        """Pass on what has arrived, until there is nothing more or the protocol wants no more."""
        incoming, tls = self._incoming, self._tls
        while not self._paused and not self._closing and self._protocol is not None:
            # Asking OpenSSL in vain raises an exception, which takes longer than all the rest.
            if not incoming.pending and not tls.pending():
                if not self._rest:
                    break
                piece, self._rest = self._rest[:PIECE], self._rest[PIECE:]
                self._overhead += len(piece)
                if self._overhead > OVERHEAD:
                    self.abort()
                    return
                incoming.write(piece)
            try:
                data = tls.read(_RECORD)
            except ssl.SSLWantReadError:
                if incoming.pending:  # OpenSSL takes in all that there is
                    break
                continue
            except ssl.SSLError:
                self._flush()  # the alert
                self.abort()
                return
            if not data:  # the farewell of TLS
                self._protocol.eof_received()
                self.close()
                return
            # Twice: as much of TLS as of the application is fine.
            self._overhead = max(self._overhead - 2 * len(data), 0)
            self._protocol.data_received(data)
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._raw.is_closing():
            self._raw.write(self._outgoing.read())

    @contextmanager
    def _aborting(self) -> Iterator[None]:
        try:
            yield
        except ssl.SSLError:
            self.abort()

    # -- for the application

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send octets."""
        if self._closing:
            return
        if len(data) <= PIECE:
            try:  # without `_aborting`, which costs as much as the encryption
                if data:
                    self._tls.write(data)
                    self._flush()
            except ssl.SSLError:
                self.abort()
            return
        view, pieces = memoryview(data).cast("B"), []
        with self._aborting():
            for start in range(0, len(view), PIECE):
                self._tls.write(view[start : start + PIECE])
                pieces.append(self._outgoing.read())
            if not self._raw.is_closing():
                self._raw.write(b"".join(pieces))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send several pieces."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """Raise NotImplementedError: TLS has no half-closed connections that others understand."""
        raise NotImplementedError

    def can_write_eof(self) -> bool:
        """Return False."""
        return False

    def close(self) -> None:
        """Send what is left and the farewell of TLS, and close."""
        if self._closing:
            return
        self._closing = True
        with suppress(ssl.SSLError):
            self._tls.unwrap()  # writes the farewell, and does not wait for the answer
        self._flush()
        self._raw.close()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._raw.abort()

    def is_closing(self) -> bool:
        """Return whether the connection ends or has ended."""
        return self._closing or self._raw.is_closing()

    def pause_reading(self) -> None:
        """Deliver nothing until `resume_reading`."""
        if not self._paused and not self.is_closing():
            self._paused = True
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Deliver again, beginning with what has arrived already."""
        if self._paused and not self.is_closing():
            self._paused = False
            self._raw.resume_reading()
            # Not at once: the protocol is in the middle of something.
            asyncio.get_running_loop().call_soon(self._deliver)

    def is_reading(self) -> bool:
        """Return whether octets are delivered."""
        return not self._paused and not self.is_closing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when the protocol is told to pause; counted in encrypted octets."""
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how many encrypted octets wait to be sent."""
        return self._raw.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the limits."""
        return self._raw.get_write_buffer_limits()

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that is served. Raises RuntimeError when the connection has ended."""
        if self._protocol is None:
            raise RuntimeError("the connection has ended")
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Serve with another protocol from now on."""
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection: of TLS here, of the socket below."""
        match name:
            case "ssl_object":
                return self._tls
            case "sslcontext":
                return self._tls.context
            case "peercert":
                return self._tls.getpeercert()
            case "cipher":
                return self._tls.cipher()
            case _:
                return self._raw.get_extra_info(name, default)
