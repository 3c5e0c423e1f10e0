"""The two sockets of the DNS face, in this process, asked by foreign programs."""

from __future__ import annotations

import asyncio

from dns.responder import Responder
from dns.tcp import TcpLimits, TcpServer, serve_tcp
from dns.udp import UdpServer, serve_udp
from tests.programs import find
from tests.views import StandingView

PATIENT = TcpLimits(connections=20, idle_s=30, send_s=0.5)


class Running:
    """A responder with its two sockets on one port."""

    def __init__(
        self, view: StandingView, server: Responder, udp: UdpServer, tcp: TcpServer, host: str = "127.0.0.1"
    ) -> None:
        self.view, self.server, self.udp, self.tcp, self.host = view, server, udp, tcp, host
        self.port = udp.port

    async def dig(self, *words: str, program: str = "dig") -> str:
        """Return what dig prints, which may not be a complaint."""
        process = await asyncio.create_subprocess_exec(
            find(program), f"@{self.host}", "-p", str(self.port), *words, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(20):
            out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()
        return out.decode()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port)


async def both(server: Responder, host: str = "127.0.0.1") -> tuple[UdpServer, TcpServer]:
    """Serve on one port that is free for both; a port free for one may be somebody's for the other."""
    for _ in range(20):
        udp = await serve_udp(server, host, 0)
        try:
            return udp, await serve_tcp(server, host, udp.port, PATIENT)
        except OSError:
            udp.close()
    raise AssertionError("no port is free for both UDP and TCP")
