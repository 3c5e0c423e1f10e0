"""TLS on a listening port: handshakes within limits, and a clear word to those who come without TLS.

A handshake costs a millisecond, twenty times a request. So they wait in one queue, and each turn of the event loop does
one: the requests of open connections are answered in between, however many handshakes arrive together.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import msgspec
import structlog

from registry_core.causes import cause_of
from registry_core.errors import PLAIN_HTTP
from registry_core.ports.clock import Clock
from registry_core.security.tls_transport import TlsTransport
from registry_core.telemetry.log_thinning import Thinning

# RFC 8446 section 5.1: the type of a handshake's record, and the major version that all versions of TLS write.
HANDSHAKE: Final = b"\x16\x03"
_METHODS: Final = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"PRI ", b"CONNECT ")
_PROBLEM: Final = msgspec.json.encode(
    {
        "error": PLAIN_HTTP,
        "field": "scheme",
        "message": "this port speaks HTTPS only: the URL must begin with https://",
        "provided": "http",
        "example": "https://registry.example:8888",
    }
)
PLAIN_HTTP_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json; charset=utf-8\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_PROBLEM), _PROBLEM)
)
# The outcomes of handshakes, as the metric names them.
DONE: Final = "done"
FAILED: Final = "failed"
LATE: Final = "late"
EVICTED: Final = "evicted"
NO_TLS: Final = "no-tls"
OUTCOMES: Final = (DONE, FAILED, LATE, EVICTED, NO_TLS)

_log = structlog.get_logger(component="tls")


class HandshakeLimits(msgspec.Struct, frozen=True):
    """The limits of connections that have not finished their handshake."""

    # The oldest one makes room for a newer one: an honest client needs a few round trips, and an attacker as many
    # connections as this within them to keep it out.
    connections: int = 1000
    seconds: float = 5.0
    # A chain of certificates with its handshake; OpenSSL takes 100 kB for the chain.
    octets: int = 128 * 1024


class Guarded(Protocol):
    """What a listening port does with each new connection, before the protocol that serves it."""

    def guarding(self, inner: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """Return a factory of protocols in front of those that `inner` makes."""
        ...


class TlsPort:
    """A port that speaks TLS. `context` returns the context for the next connection.

    `opened` is called with each connection whose handshake is done.
    """

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        *,
        clock: Clock,
        limits: HandshakeLimits | None = None,
        opened: Callable[[TlsTransport], None] = lambda _: None,
    ) -> None:
        self.limits = limits if limits is not None else HandshakeLimits()
        self.context = context
        self.opened = opened
        self.outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        # Those without TLS yet, the oldest first.
        self.handshaking: dict[_TlsConnection, asyncio.TimerHandle] = {}
        self._queue: deque[_TlsConnection] = deque()
        self._is_taking_turns = False
        self._clock = clock
        self._thinning = Thinning()

    def guarding(self, inner: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """Return a factory of protocols that set up TLS, and then serve with what `inner` makes."""
        return lambda: _TlsConnection(self, inner)

    def begins(self, connection: _TlsConnection) -> None:
        """A connection was accepted."""
        while len(self.handshaking) >= self.limits.connections:
            next(iter(self.handshaking)).end(EVICTED, "too many handshakes at once")
        deadline = asyncio.get_running_loop().call_later(
            self.limits.seconds, connection.end, LATE, "it does not finish its handshake in time"
        )
        self.handshaking[connection] = deadline

    def wants_a_turn(self, connection: _TlsConnection) -> None:
        """Octets of a handshake have arrived."""
        self._queue.append(connection)
        if not self._is_taking_turns:
            self._is_taking_turns = True
            asyncio.get_running_loop().call_soon(self._turn)

    def ended(self, connection: _TlsConnection, outcome: str, because: str = "", client: str = "") -> None:
        """A handshake is over, well or not. Failures are logged now and then: anybody can cause them."""
        deadline = self.handshaking.pop(connection, None)
        if deadline is None:
            return
        deadline.cancel()
        self.outcomes[outcome] += 1
        if outcome == DONE or not because:
            return
        times = self._thinning.failed(because, self._clock.monotonic())
        if times is not None:
            _log.warning("tls_handshake_failed", because=because, client=client, times=times)

    def _turn(self) -> None:
        self._is_taking_turns = False
        while self._queue:
            connection = self._queue.popleft()
            if connection in self.handshaking:
                connection.go_on()
                break
        if self._queue:
            self._is_taking_turns = True
            asyncio.get_running_loop().call_soon(self._turn)


class _TlsConnection(asyncio.Protocol):
    """One connection of a TLS port."""

    __slots__ = ("_incoming", "_inner", "_octets", "_outgoing", "_port", "_raw", "_tls", "open")

    def __init__(self, port: TlsPort, inner: Callable[[], asyncio.Protocol]) -> None:
        self._port = port
        self._inner = inner
        self._raw: asyncio.Transport | None = None
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._octets = 0
        self.open: TlsTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._port.begins(self)

    def data_received(self, data: bytes) -> None:
        if self.open is not None:
            self.open.feed(data)
            return
        if self not in self._port.handshaking:
            return  # it ended just before
        raw = self._raw
        assert raw is not None  # it has octets
        if self._tls is None:
            if not HANDSHAKE.startswith(data[: len(HANDSHAKE)]):
                self._refuse(raw, data)
                return
            self._tls = self._port.context().wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._octets += len(data)
        self._incoming.write(data)
        raw.pause_reading()  # until its turn: what waits is bounded by one read
        self._port.wants_a_turn(self)

    def _refuse(self, raw: asyncio.Transport, data: bytes) -> None:
        """End a connection whose first octets are not of TLS."""
        if data.startswith(_METHODS):
            raw.write(PLAIN_HTTP_ANSWER)
            self.end(NO_TLS, "it speaks HTTP without TLS; its URL must begin with https://", gently=True)
        else:
            self.end(NO_TLS, "it speaks neither TLS nor HTTP")

    def go_on(self) -> None:
        """Go on with the handshake."""
        tls, raw = self._tls, self._raw
        assert tls is not None  # it has octets of TLS
        assert raw is not None  # it has octets
        raw.resume_reading()
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush(raw)
            if self._octets > self._port.limits.octets:
                self.end(FAILED, "its handshake is too long")
            return
        except ssl.SSLError as error:
            self._flush(raw)  # the alert
            self.end(FAILED, cause_of(error), gently=True)
            return
        self._flush(raw)
        self._port.ended(self, DONE)
        self.open = TlsTransport(raw, tls, self._incoming, self._outgoing)
        self._port.opened(self.open)
        self.open.begin(self._inner())

    def _flush(self, raw: asyncio.Transport) -> None:
        if self._outgoing.pending:
            raw.write(self._outgoing.read())

    def end(self, outcome: str, because: str, *, gently: bool = False) -> None:
        """End the connection before its handshake is done; `gently` sends first what was written."""
        raw = self._raw
        assert raw is not None  # it was accepted
        peer: Any = raw.get_extra_info("peername")
        self._port.ended(self, outcome, because, str(peer[0]) if peer else "")
        if gently:
            raw.close()
        else:
            raw.abort()

    def eof_received(self) -> bool | None:
        if self.open is not None:
            self.open.eof()
        return None

    def pause_writing(self) -> None:
        if self.open is not None:
            self.open.paused()

    def resume_writing(self) -> None:
        if self.open is not None:
            self.open.resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        self._port.ended(self, FAILED)
        if self.open is not None:
            self.open.lost(exc)


class PlainPort:
    """A port without TLS. It counts and logs those who come with TLS; HTTP answers them."""

    def __init__(self, *, clock: Clock) -> None:
        self.with_tls = 0
        self._clock = clock
        self._thinning = Thinning()

    def guarding(self, inner: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """Return a factory of protocols that look at the first octets, and then step aside."""
        return lambda: _PlainConnection(self, inner())

    def came_with_tls(self, client: str) -> None:
        """A client began a TLS handshake."""
        self.with_tls += 1
        times = self._thinning.failed("tls", self._clock.monotonic())
        if times is not None:
            _log.warning(
                "tls_on_a_plain_port",
                because="this port speaks HTTP; set REGISTRY_TLS_CERT, or the client's URL to http://",
                client=client,
                times=times,
            )


class _PlainConnection(asyncio.Protocol):
    """Looks at the first octets of a connection, and passes everything on."""

    __slots__ = ("_inner", "_port", "_raw")

    def __init__(self, port: PlainPort, inner: asyncio.Protocol) -> None:
        self._port = port
        self._inner = inner
        self._raw: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast("asyncio.Transport", transport)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        raw = self._raw
        assert raw is not None  # it has octets
        if data.startswith(HANDSHAKE):
            peer: Any = raw.get_extra_info("peername")
            self._port.came_with_tls(str(peer[0]) if peer else "")
        raw.set_protocol(self._inner)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)
