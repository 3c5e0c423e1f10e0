"""The two sockets of the DNS face, in this process, queried by foreign programs."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from dns.batched_udp import Batched
from dns.beside_loop import BesideLoop
from dns.mmsg import system_calls
from dns.one_by_one_udp import OneByOne
from dns.reply_source import ReplySource
from dns.responder import Responder
from dns.tcp import TcpLimits, TcpServer, serve_tcp
from dns.udp import ExchangeMaker, UdpServer, fastest, serve_udp
from tests.programs import find
from tests.views import StandingView

PATIENT = TcpLimits(connections=20, idle_s=30, send_s=0.5)


def batched(server: Responder, listening: socket.socket, source: ReplySource | None) -> Batched:
    """Return the batched exchange; fail where the system has not its calls, instead of testing the other twice."""
    calls = system_calls(listening)
    assert calls is not None
    return Batched(server, listening, source, calls)


def beside(server: Responder, listening: socket.socket, source: ReplySource | None) -> BesideLoop:
    """Return the exchange in a thread; fail where the system has not its calls."""
    calls = system_calls(listening)
    assert calls is not None
    return BesideLoop(server, listening, source, calls)


ON_THE_LOOP: tuple[ExchangeMaker, ...] = (batched, OneByOne)
EXCHANGES: tuple[ExchangeMaker, ...] = (*ON_THE_LOOP, beside)
EXCHANGE_NAMES = ("batched", "one by one", "beside the loop")


def address_in_the_network() -> str:
    """Return the address from which this machine would talk to others. Sends nothing."""
    with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        own: str = probe.getsockname()[0]
        if not own.startswith("127."):
            return own
    pytest.skip("this machine has only loopback: no query can come from elsewhere")


class Running:
    """A responder with its two sockets on one port."""

    def __init__(
        self, view: StandingView, server: Responder, udp: UdpServer, tcp: TcpServer, host: str = "127.0.0.1"
    ) -> None:
        self.view, self.server, self.udp, self.tcp, self.host = view, server, udp, tcp, host
        self.port = udp.port

    async def dig(self, *words: str, program: str = "dig") -> str:
        """Return dig's output, which must not be a complaint."""
        process = await asyncio.create_subprocess_exec(
            find(program), f"@{self.host}", "-p", str(self.port), *words, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(20):
            out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()
        return out.decode()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port)


async def both(
    server: Responder, host: str = "127.0.0.1", exchange: ExchangeMaker = fastest
) -> tuple[UdpServer, TcpServer]:
    """Serve on one port that is free for both; a port that is free for one may be taken for the other."""
    for _ in range(20):
        udp = await serve_udp(server, host, 0, exchange=exchange)
        try:
            return udp, await serve_tcp(server, host, udp.port, PATIENT)
        except OSError:
            await udp.close()
    raise AssertionError("no port is free for both UDP and TCP")
