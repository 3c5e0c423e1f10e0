"""Scripted resolvers on loopback, one that only forwards, and an agent's DNS face that uses them."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

from dns.dns_settings import DnsSettings
from dns.forward_rules import read_rules
from dns.forwarding import Forwarder, ForwardLimits
from dns.resolver_client import CHECK_LABEL, Patience
from dns.responder import Responder
from dns.tcp import TcpLimits, TcpServer, serve_tcp
from dns.udp import UdpServer, serve_udp
from registry_core.ports.clock import Clock, SystemClock
from registry_core.ports.local_view import LocalView
from tests.foreign import name_in, reply_to
from tests.programs import find
from tests.views import StandingView

# A slow test machine must not make a resolver look silent ...
STEADY = ForwardLimits(failure_s=0.0, patience=Patience(next_s=10.0, total_s=20.0, try_s=10.0))
# ... except in the tests of silent resolvers.
QUICK = ForwardLimits(
    stale_after_s=0.2, failure_s=0.0, system_s=0.05, patience=Patience(next_s=0.15, total_s=1.5, try_s=0.3)
)

# From a query and its transport to the packets sent back, in order.
Script = Callable[[bytes, str], Iterable[bytes]]


class Resolver(asyncio.DatagramProtocol):
    """A resolver that answers as `script` decides, and records the queries."""

    def __init__(self, script: Script, host: str = "127.0.0.1") -> None:
        self.script = script
        self.host = host
        self.asked: list[bytes] = []
        self.checks = 0  # queries with which the agent checks it
        self.ports: list[int] = []
        self.over_tcp = 0
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None

    @property
    def names(self) -> list[str]:
        """The queried names, with their case."""
        return [name_in(query) for query in self.asked]

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(50):
            self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self.host, 0))
            self.port = self._transport.get_extra_info("sockname")[1]
            try:
                self._server = await asyncio.start_server(self._serve, self.host, self.port)
            except OSError:
                self._transport.close()
                continue
            return
        raise AssertionError("no port is free for both UDP and TCP")

    async def stop(self) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        await asyncio.sleep(0)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        for packet in self._packets(data, "udp", addr[1]):
            self._transport.sendto(packet, addr)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                query = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                self.over_tcp += 1
                for packet in self._packets(query, "tcp", 0):
                    writer.write(len(packet).to_bytes(2) + packet)
        writer.transport.abort()

    def _packets(self, query: bytes, transport: str, port: int) -> Iterable[bytes]:
        if is_check(query):
            self.checks += 1
        else:
            self.asked.append(query)
            self.ports.append(port)
        return self.script(query, transport)


def is_check(query: bytes) -> bool:
    """Return whether a query is one with which an agent checks a resolver."""
    return f".{CHECK_LABEL.decode()}." in name_in(query).lower()


def honest(query: bytes, transport: str = "udp") -> list[bytes]:
    """Answer every name with one address, and the agent's own checks with NXDOMAIN."""
    if is_check(query):
        return [reply_to(query, rcode=3)]
    return [reply_to(query, f"{name_in(query)} 300 IN A 192.0.2.1")]


def silent(query: bytes, transport: str = "udp") -> list[bytes]:
    """Say nothing."""
    return []


@contextlib.asynccontextmanager
async def resolver(script: Script = honest, host: str = "127.0.0.1") -> AsyncIterator[Resolver]:
    """Run a resolver for the duration of a `with`."""
    one = Resolver(script, host)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


class Face:
    """An agent's DNS face, and dig to query it."""

    def __init__(self, responder: Responder, forwarder: Forwarder, udp: UdpServer, tcp: TcpServer) -> None:
        self.responder, self.forwarder, self.udp, self.tcp = responder, forwarder, udp, tcp
        self.port = udp.port

    async def dig(self, *words: str, program: str = "dig") -> str:
        """Return dig's output. It tries once, and waits as long as stub resolvers do."""
        limits = ("+tries=1", "+time=5") if program == "dig" else ("+retry=0", "+time=5")
        process = await asyncio.create_subprocess_exec(
            find(program), "@127.0.0.1", "-p", str(self.port), *limits, *words, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(20):
            out, _ = await process.communicate()
        return out.decode()

    async def short(self, *words: str) -> list[str]:
        """Return the data of the records that dig gets."""
        return (await self.dig("+short", *words)).split()

    def state(self, one: Resolver) -> str:
        """Return the forwarder's state of that resolver."""
        reports = {each.server: each for each in self.forwarder.report().upstreams}
        return reports[f"127.0.0.1:{one.port}"].state.value


@contextlib.asynccontextmanager
async def face(
    rules: str,
    *,
    view: LocalView | None = None,
    clock: Clock | None = None,
    limits: ForwardLimits = STEADY,
    resolv_conf: Path = Path("/nonexistent"),
    port: int = 0,
) -> AsyncIterator[Face]:
    """Run an agent's DNS face, forwarding by `rules`, for the length of a `with`."""
    settings = DnsSettings()
    forwarder = Forwarder(
        read_rules(rules),
        clock if clock is not None else SystemClock(),
        limits,
        resolv_conf=resolv_conf,
        zone=settings.zone,
    )
    server = Responder(view if view is not None else StandingView(), settings, random.Random(7), forwarder)
    await forwarder.start()
    udp, tcp = await _both(server, port)
    forwarder.listens_on("127.0.0.1", udp.port)
    try:
        yield Face(server, forwarder, udp, tcp)
    finally:
        await udp.close()
        await tcp.close()
        await forwarder.close()


async def _both(server: Responder, port: int) -> tuple[UdpServer, TcpServer]:
    for _ in range(20):
        udp = await serve_udp(server, "127.0.0.1", port)
        try:
            return udp, await serve_tcp(server, "127.0.0.1", udp.port, TcpLimits(idle_s=5.0))
        except OSError:
            await udp.close()
    raise AssertionError("no port is free for both UDP and TCP")


def to(*resolvers: Resolver) -> str:
    """Return the rule that uses these resolvers."""
    return ",".join(f"127.0.0.1:{one.port}" for one in resolvers)
