"""TLS on a connection loses and adds nothing, wherever it is cut, and holds little."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from registry_core.security.tls_transport import PIECE, TlsTransport
from tests.certificates import Authority


class Socket(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_closed = self.is_paused = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


class Application(asyncio.Protocol):
    """Keeps what arrives, and stops reading after each piece where it is told to."""

    def __init__(self, pauses: list[bool]) -> None:
        self.received = b""
        self.is_over = False
        self._pauses = pauses
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        assert self.transport is not None
        assert self.transport.is_reading(), "nothing comes to those who do not read"
        if self._pauses and self._pauses.pop():
            self.transport.pause_reading()

    def eof_received(self) -> bool | None:
        self.is_over = True
        return None


@functools.cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder) / "fleet")
        own = authority.issue("DNS:registry.example")
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(own.cert, own.key)
        return server, ssl.create_default_context(cafile=str(authority.ca))


class Ends:
    """A client, and a connection that has finished its handshake with it."""

    def __init__(self, application: Application) -> None:
        server, client = contexts()
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client_in, self.client_out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self.client_in, self.client_out, server_hostname="registry.example")
        tls = server.wrap_bio(to_server, to_client, server_side=True)
        for _ in range(4):
            for end in (self.client, tls):
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
                to_server.write(self.client_out.read())
                self.client_in.write(to_client.read())
        self.socket = Socket()
        self.held = (to_server, to_client)
        self.transport = TlsTransport(self.socket, tls, to_server, to_client)
        self.transport.begin(application)

    def read(self) -> bytes:
        """Return what the client can read."""
        self.client_in.write(self.socket.written)
        self.socket.written = b""
        said = b""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while more := self.client.read(65536):
                said += more
        return said


pieces = st.lists(st.integers(1, 40_000), max_size=5)


@settings(deadline=None)
@given(sent=pieces, cuts=st.lists(st.integers(1, 20_000), min_size=1, max_size=6), pauses=st.lists(st.booleans()))
def test_what_arrives_is_what_was_sent_wherever_it_is_cut_and_whenever_nobody_reads(
    sent: list[int], cuts: list[int], pauses: list[bool]
) -> None:
    async def check() -> None:
        application = Application(pauses)
        ends = Ends(application)
        wanted = b"".join(bytes([number % 251]) * size for number, size in enumerate(sent))
        if wanted:
            ends.client.write(wanted)
        stream, turn = ends.client_out.read(), 0
        while stream:
            if ends.socket.is_paused:
                ends.transport.resume_reading()
                await asyncio.sleep(0)
                continue
            size = cuts[turn % len(cuts)]
            turn += 1
            piece, stream = stream[:size], stream[size:]
            ends.transport.feed(piece)
            assert ends.held[0].pending <= 2 * PIECE, "what waits for OpenSSL is bounded"
        while ends.socket.is_paused:
            ends.transport.resume_reading()
            await asyncio.sleep(0)
        assert application.received == wanted

    asyncio.run(check())


@settings(deadline=None)
@given(sent=pieces)
def test_what_is_written_is_what_the_client_reads_and_then_the_end(sent: list[int]) -> None:
    ends = Ends(Application([]))
    wanted = b"".join(bytes([number % 251]) * size for number, size in enumerate(sent))
    for number, size in enumerate(sent):
        ends.transport.write(memoryview(bytes([number % 251]) * size))
        assert ends.held[1].pending == 0
    ends.transport.close()
    ends.transport.write(b"too late")
    assert ends.read() == wanted
    assert ends.socket.is_closed
    assert ends.transport.is_closing()


@settings(deadline=None, max_examples=30)
@given(st.binary(min_size=1, max_size=400))
def test_octets_that_are_not_of_tls_end_the_connection_and_reach_nobody(garbage: bytes) -> None:
    application = Application([])
    ends = Ends(application)
    ends.transport.feed(b"\x17\x03\x03\x00\x20" + garbage + bytes(64))
    assert application.received == b""
    assert ends.socket.is_closed


def test_the_farewell_of_the_client_ends_the_connection() -> None:
    application = Application([])
    ends = Ends(application)
    with contextlib.suppress(ssl.SSLWantReadError):
        ends.client.unwrap()
    ends.transport.feed(ends.client_out.read())
    assert application.is_over
    assert ends.socket.is_closed


def test_a_flood_of_what_the_application_never_sees_ends_the_connection() -> None:
    """Records of one octet stand for key updates: 24 octets of TLS, and a turn of OpenSSL, for next to nothing."""
    application = Application([])
    ends = Ends(application)
    for _ in range(20_000):
        if ends.socket.is_closed:
            break
        ends.client.write(b"x")
        ends.transport.feed(ends.client_out.read())
    assert ends.socket.is_closed
    assert len(application.received) < 5_000
