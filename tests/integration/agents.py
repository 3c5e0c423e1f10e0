"""A real agent on loopback ports in the test's own loop, a service to register, and clients for it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import dnslib
import msgspec

from agent.checks.spec import CheckKind, CheckPace, CheckSpec, HttpCheck, TcpCheck, Tls
from agent.settings.local_port import WRITE_HEADER
from agent.settings.settings import AgentSettings, ServiceSpec
from agent.sidecar import Sidecar
from dns.forward_rules import NOBODY
from registry_core.domain.records import Protocol, Registration
from registry_core.domain.selection import WhenNonePass
from registry_core.ports.clock import Clock
from registry_core.settings import Listen
from tests.integration.replicas import Answer

ANY_PORT = Listen("127.0.0.1", 0)
# Fast enough to watch in a test; tests wait for conditions.
QUICK = AgentSettings(
    http_listen=ANY_PORT,
    dns_listen=ANY_PORT,
    dns_forward=NOBODY,  # no test queries outside resolvers, whatever it asks the agent
    heartbeat_s=0.3,
    initial_wait_s=20.0,
    drain_confirm_s=0.0,
    drain_srv_s=0.0,
    drain_wait_s=0.0,
    when_none_pass=WhenNonePass.NONE,
)
QUICK_PACE = CheckPace(interval_s=0.1, timeout_s=1.0)


class StandIn:
    """A service that answers every path with `status`, on its own loopback address."""

    def __init__(self, host: str, tls: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.port = 0
        self.status = 200
        self.asked: list[str] = []
        self.requests: list[str] = []
        self._tls = tls
        self.headers = ""
        self.body = b"ok"
        self.silent = asyncio.Event()  # when set, it takes the request and does not answer
        self._server: asyncio.Server | None = None
        self._stopped = False
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._stopped = False
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, and end every connection; the port is then free."""
        self._stopped = True
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # the transports close their sockets

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._stopped:  # it was accepted just before the end
            writer.transport.abort()
            return
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request.decode())
            self.asked.append(request.split(b" ", 2)[1].decode())
            if self.silent.is_set():
                await reader.read()
            else:
                head = f"HTTP/1.1 {self.status} X\r\n{self.headers}Content-Length: {len(self.body)}\r\n\r\n"
                writer.write(head.encode() + self.body)
                await writer.drain()
        writer.close()
        self._writers.discard(writer)


@contextlib.asynccontextmanager
async def stand_in(host: str = "127.77.0.1", *, tls: ssl.SSLContext | None = None) -> AsyncIterator[StandIn]:
    """Run a stand-in for the duration of a `with`."""
    service = StandIn(host, tls)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


def spec(service: StandIn, name: str = "osint_service", check: CheckKind = CheckKind.HTTP, **more: Any) -> ServiceSpec:
    """Return the settings of `service`, with the simplest check of that kind."""
    more.setdefault("instance_id", f"{service.host}:{service.port}")
    claim = Registration(service_name=name, host=service.host, port=service.port, **more)
    checks: dict[CheckKind, tuple[CheckSpec, ...]] = {
        CheckKind.HTTP: (CheckSpec("http", http_check(claim), QUICK_PACE),),
        CheckKind.TCP: (CheckSpec("tcp", TcpCheck(), QUICK_PACE),),
        CheckKind.NONE: (),
    }
    return ServiceSpec(claim, checks[check])


def http_check(claim: Registration, **more: Any) -> HttpCheck:
    """Return the http check that a service has by default."""
    more.setdefault("tls", Tls() if claim.protocol is Protocol.HTTPS else None)
    return HttpCheck(path=claim.health_endpoint, **more)


class Line:
    """A TCP connection to a registry that can be cut: a proxy on its own port."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.down = False  # every new connection breaks at once

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break every connection, in the middle of whatever it carries."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.down:
            writer.transport.abort()
            return
        there_reader, there = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers |= {writer, there}
        await asyncio.gather(_pump(reader, there), _pump(there_reader, writer))
        self._writers -= {writer, there}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def line_to(port: int) -> AsyncIterator[Line]:
    """Run a line to a port for the duration of a `with`."""
    line = Line(port)
    server = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        line.cut()


class AgentUnderTest:
    """Talks to one agent as any other program would: over HTTP and DNS."""

    def __init__(self, sidecar: Sidecar, session: aiohttp.ClientSession) -> None:
        self.sidecar = sidecar
        self.session = session

    @property
    def url(self) -> str:
        return f"http://{self.sidecar.http_listen}"

    async def get(self, path: str) -> Answer:
        """Send a request to the agent's HTTP face."""
        return await get(self.session, self.url + path)

    async def dig(self, name: str, qtype: str = "A", *, tcp: bool = False) -> Any:
        """Query the agent's DNS face; return the answer as dnslib parses it."""
        return await dig(self.sidecar.dns_listen.port, name, qtype, tcp=tcp)

    async def addresses(self, service: str) -> list[str]:
        """Return the addresses that DNS returns for a service, sorted."""
        return sorted(str(rr.rdata) for rr in (await self.dig(f"{service}.vertice.internal")).rr)


async def get(session: aiohttp.ClientSession, url: str) -> Answer:
    async with session.get(url, allow_redirects=False) as response:
        raw = await response.read()
        body = msgspec.json.decode(raw) if response.content_type == "application/json" else raw
        return Answer(response.status, response.headers, body)


async def dig(port: int, name: str, qtype: str = "A", *, tcp: bool = False) -> Any:
    """Query a DNS server on loopback, outside of the loop's thread."""
    question = dnslib.DNSRecord.question(name, qtype)
    raw = await asyncio.to_thread(question.send, "127.0.0.1", port, tcp=tcp, timeout=5)
    return dnslib.DNSRecord.parse(raw)


@contextlib.asynccontextmanager
async def standing(
    registry: str | tuple[str, ...],
    *services: ServiceSpec,
    settings: AgentSettings = QUICK,
    clock: Clock | None = None,
) -> AsyncIterator[AgentUnderTest]:
    """Run an agent for the duration of a `with`; at the end it drains."""
    urls = (registry,) if isinstance(registry, str) else registry
    sidecar = Sidecar(msgspec.structs.replace(settings, registry_urls=urls, services=services), clock=clock)
    await sidecar.start()
    try:
        headers = {WRITE_HEADER: "1"}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20), headers=headers) as session:
            yield AgentUnderTest(sidecar, session)
    finally:
        await sidecar.close()


async def becomes(question: Callable[[], Awaitable[object]], wanted: object, timeout_s: float = 15.0) -> None:
    """Poll until the answer is `wanted`; fail with the last answer after the timeout."""
    last: object = None
    try:
        async with asyncio.timeout(timeout_s):
            while (last := await question()) != wanted:  # noqa: ASYNC110 - the other end is asked, it tells nothing
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_s} s: wanted {wanted!r}, last {last!r}") from None
