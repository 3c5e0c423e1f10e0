"""grpc.health.v1: checks a gRPC server with one call over one HTTP/2 connection.

A gRPC library is many times the size of this agent; a check needs only this one call. h2 implements HTTP/2
(RFC 9113, RFC 7541); the message is two fields of protobuf.

https://github.com/grpc/grpc/blob/master/doc/health-checking.md
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import math
from typing import Final
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from agent.checks.connection import converse
from agent.checks.result import WELL, CheckOutcome, CheckResult, after_error, critical
from agent.checks.spec import GrpcCheck
from agent.checks.tls import tls_context
from registry_core.causes import cause_of
from registry_core.domain.host_port import host_port
from registry_core.domain.records import Registration

MAX_READ_BYTES: Final = 64 * 1024
# At a time: a frame may have 9 octets, and a small one takes as long as a large one, some 50 µs.
READ_BYTES: Final = 1024
# About one for each frame. A server sends some ten with its answer.
MAX_EVENTS: Final = 100
MAX_MESSAGE_BYTES: Final = 1024

_STATUSES: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
SERVING: Final = 1
_CODES: Final = {
    1: "CANCELLED",
    2: "UNKNOWN",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND: it does not know this service",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    12: "UNIMPLEMENTED: it has no grpc.health.v1",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    16: "UNAUTHENTICATED",
}


class BadGrpcReply(ValueError):
    """Raised when an answer is not a HealthCheckResponse."""


class GrpcCall:
    """One call of grpc.health.v1.Health/Check to an address: healthy if the answer is SERVING."""

    def __init__(self, claim: Registration, how: GrpcCheck, timeout_s: float) -> None:
        self._port = claim.port
        self._tls = tls_context(how.tls, "h2") if how.tls is not None else None
        self._server_name = (how.tls.server_name or claim.host) if how.tls is not None else None
        self._message = request_message(how.service)
        self._headers = (
            (":method", "POST"),
            (":scheme", "http" if how.tls is None else "https"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", host_port(claim.host, claim.port)),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("grpc-timeout", f"{math.ceil(timeout_s * 1000)}m"),
            ("user-agent", "vertice-agent"),
        )

    async def __call__(self, address: str) -> CheckOutcome:
        """Return the outcome at `address`. Raises OSError when there is no connection to it."""
        call = _GrpcConversation(self._headers, self._message)
        error = await converse(call, address, self._port, tls=self._tls, server_name=self._server_name)
        try:
            if error is None:
                return call.result()
        except ValueError as unreadable:
            error = unreadable
        return after_error(error, f"the server does not speak gRPC: {cause_of(error)}")


class _GrpcConversation:
    """One call over HTTP/2."""

    def __init__(self, headers: tuple[tuple[str, str], ...], message: bytes) -> None:
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self._connection = h2.connection.H2Connection(config)
        self._connection.local_settings = h2.settings.Settings(
            client=True, initial_values={h2.settings.SettingCodes.ENABLE_PUSH: 0}
        )
        self._connection.initiate_connection()
        self._connection.send_headers(1, headers)
        self._connection.send_data(1, message, end_stream=True)
        self._answer = GrpcResponse()
        self._problem = ""
        self._octets = self._events = 0

    @property
    def done(self) -> bool:
        return self._answer.ended or bool(self._problem)

    def start(self) -> bytes:
        data: bytes = self._connection.data_to_send()
        return data

    def feed(self, data: bytes) -> bytes:
        try:
            for at in range(0, len(data), READ_BYTES):
                self._take(data[at : at + READ_BYTES])
                if self.done:
                    break
        except h2.exceptions.H2Error as error:
            raise BadGrpcReply(cause_of(error)) from None
        return self.start()

    def _take(self, data: bytes) -> None:
        self._octets += len(data)
        for event in self._connection.receive_data(data):
            self._answer.take(event)
            self._events += 1
        if self._octets > MAX_READ_BYTES:
            self._problem = f"its answer has more than {MAX_READ_BYTES} bytes"
        elif self._events > MAX_EVENTS:
            self._problem = f"it sends more than {MAX_EVENTS} HTTP/2 frames without an answer"

    def end(self) -> None:
        self._problem = "the connection was closed before the answer"

    def result(self) -> CheckResult:
        """Return the result of the call. Raises ValueError when the answer's message cannot be read."""
        return self._answer.result() if self._answer.ended else critical(self._problem)


class GrpcResponse:
    """Assembles the answer from events. Raises ValueError when an event is not part of an answer to our call."""

    def __init__(self) -> None:
        self.ended = False
        self._headers: dict[bytes, bytes] = {}
        self._body = bytearray()
        self._broken = ""

    def take(self, event: h2.events.Event) -> None:
        """Take the next event of the connection."""
        match event:
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                self._headers |= dict(event.headers)
            case h2.events.DataReceived():
                self._body += event.data[: MAX_MESSAGE_BYTES + 1 - len(self._body)]
            case h2.events.StreamEnded():
                self.ended = True
            case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                self.ended, self._broken = True, self._broken or f"ended with HTTP/2 error {event.error_code}"

    def result(self) -> CheckResult:
        """Return the result of the complete answer."""
        status = self._headers.get(b":status", b"").decode("latin-1")
        if status not in ("", "200"):
            return critical(f"HTTP {status} instead of gRPC")
        code = self._headers.get(b"grpc-status")
        if code is None:
            return critical(self._broken or "the answer has no grpc-status")
        if code != b"0":
            name = _CODES.get(int(code) if code.isdigit() and len(code) < 4 else -1, "")
            message = unquote(self._headers.get(b"grpc-message", b"").decode("latin-1"))
            return critical(f"grpc-status {code.decode('latin-1')} {name} {message}")
        serving = status_of(bytes(self._body))
        return WELL if serving == SERVING else critical(_STATUSES.get(serving, f"serving status {serving}"))


def request_message(service: str) -> bytes:
    """Return a HealthCheckRequest in its frame: field 1 is the service's name (at most 127 bytes of it)."""
    name = service.encode()
    message = bytes([0x0A, len(name)]) + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def status_of(body: bytes) -> int:
    """Return field 1 of a framed HealthCheckResponse. Raises BadGrpcReply when `body` is not one."""
    if len(body) < 5 or body[0] != 0 or len(body) != 5 + int.from_bytes(body[1:5], "big"):
        raise BadGrpcReply("its message is truncated, compressed or too long")
    status, at, end = 0, 5, len(body)
    while at < end:
        key, at = _varint(body, at)
        match key & 7:
            case 0:
                value, at = _varint(body, at)
                if key >> 3 == 1:
                    status = value
            case 1:
                at += 8
            case 2:
                length, at = _varint(body, at)
                at += length
            case 5:
                at += 4
            case _:
                raise BadGrpcReply("its message is not protobuf")
    if at != end:
        raise BadGrpcReply("its message is not protobuf")
    return status


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(body):
            break
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise BadGrpcReply("its message is not protobuf")
