"""TLS on a listening port: handshakes within limits, and a clear word to those who come without TLS.

A handshake costs a millisecond, twenty times a request. So they take turns, and each turn of the event loop does one:
the requests of open connections are answered in between, however many handshakes arrive together. Clients have turns by
their addresses, and the one that holds most handshakes loses its oldest when there are too many: `connection_slots.py`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast

import msgspec
import structlog

from registry_core.causes import cause_of
from registry_core.domain.connection_slots import LOOPBACK, ConnectionSlots, SlotTerms, owner_of
from registry_core.errors import PLAIN_HTTP
from registry_core.loopback_survey import LoopbackSurvey
from registry_core.ports.clock import Clock
from registry_core.security.tls_transport import TlsTransport
from registry_core.telemetry.log_thinning import Thinning
from registry_core.turns import LoopTurns

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

    connections: int = 1000
    seconds: float = 5.0
    # A chain of certificates with its handshake; OpenSSL takes 100 kB for the chain.
    octets: int = 128 * 1024

    @property
    def slots(self) -> SlotTerms:
        """How they are shared: one address gets half. None is in use yet, so the largest holder's oldest goes."""
        return SlotTerms(
            self.connections, of_one_owner=max(1, self.connections // 2), large=self.connections, grace_s=0.0
        )


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
        is_shared: Callable[[str], bool] = lambda _address: False,
    ) -> None:
        """`is_shared` tells whether an address stands for many clients, as a trusted proxy's does: it has no share."""
        self.limits = limits if limits is not None else HandshakeLimits()
        self.context = context
        self.opened = opened
        self.outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        # Those without TLS yet, the oldest first.
        self.handshaking: dict[HandshakingConnection, asyncio.TimerHandle] = {}
        self.turns = LoopTurns(1)
        self._slots: ConnectionSlots[HandshakingConnection] = ConnectionSlots(self.limits.slots, lambda _: None)
        self._is_shared = is_shared
        self._survey = LoopbackSurvey(self._belong)
        self._clock = clock
        self._thinning = Thinning()

    def guarding(self, inner: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """Return a factory of protocols that set up TLS, and then serve with what `inner` makes."""
        return lambda: HandshakingConnection(self, inner)

    def begins(self, connection: HandshakingConnection) -> None:
        """A connection was accepted. When there is no room, it or another is closed."""
        owner, is_shared = owner_of(connection.host), self._is_shared(connection.host)
        if owner == LOOPBACK and self._slots.is_full and not is_shared:
            self._survey.begin(connection.own_port)
        verdict = self._slots.enter(connection, owner, self._clock.monotonic(), is_shared=is_shared)
        deadline = asyncio.get_running_loop().call_later(
            self.limits.seconds, connection.end, LATE, "it does not finish its handshake in time"
        )
        self.handshaking[connection] = deadline
        loser = verdict.victim if verdict.admitted else connection
        if loser is not None:
            loser.end(EVICTED, "too many handshakes at once")

    def wants_a_turn(self, connection: HandshakingConnection) -> None:
        """Octets of a handshake have arrived."""
        connection.waits_as = self._slots.owner(connection)
        self.turns.call(connection.go_on, connection.waits_as)

    def ended(self, connection: HandshakingConnection, outcome: str, because: str = "", client: str = "") -> None:
        """A handshake is over, well or not. Failures are logged now and then: anybody can cause them."""
        deadline = self.handshaking.pop(connection, None)
        if deadline is None:
            return
        deadline.cancel()
        self._slots.leave(connection)
        if connection.waits_as is not None:
            self.turns.drop(connection.go_on, connection.waits_as)
        self.outcomes[outcome] += 1
        if outcome == DONE or not because:
            return
        times = self._thinning.failed(because, self._clock.monotonic())
        if times is not None:
            _log.warning("tls_handshake_failed", because=because, client=client, times=times)

    def _belong(self, owners: Mapping[int, str]) -> None:
        local = (each for each in self.handshaking if owner_of(each.host) == LOOPBACK)
        self._slots.belong({each: owners[each.port] for each in local if each.port in owners})


class HandshakingConnection(asyncio.Protocol):
    """One connection of a TLS port."""

    __slots__ = (
        "_incoming",
        "_inner",
        "_octets",
        "_outgoing",
        "_port",
        "_raw",
        "_tls",
        "host",
        "open",
        "port",
        "waits_as",
    )

    def __init__(self, port: TlsPort, inner: Callable[[], asyncio.Protocol]) -> None:
        self._port = port
        self.host = ""
        self.port = 0  # of the other end
        self.waits_as: str | None = None  # the owner in whose turn it goes on
        self._inner = inner
        self._raw: asyncio.Transport | None = None
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._octets = 0
        self.open: TlsTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        peer: Any = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.host, self.port = str(peer[0]), int(peer[1])
        self._port.begins(self)

    @property
    def own_port(self) -> int:
        """The port that was connected to."""
        assert self._raw is not None  # it was accepted
        port: int = self._raw.get_extra_info("sockname")[1]
        return port

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
        self.waits_as = None
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
        self._port.ended(self, outcome, because, self.host)
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
