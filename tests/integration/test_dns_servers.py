"""The real sockets, asked by dig and kdig and by clients that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dns.responder import Responder
from dns.tcp import TcpLimits, TcpServer, serve_tcp
from dns.udp import UdpServer, serve_udp
from tests.programs import eventually, find
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, data, parsed, question, responder

LIMITS = TcpLimits(connections=20, idle_s=0.3)


class Running:
    """A responder with its two sockets on one port."""

    def __init__(self, view: StandingView, server: Responder, udp: UdpServer, tcp: TcpServer) -> None:
        self.view, self.server, self.udp, self.tcp = view, server, udp, tcp
        self.port = udp.port

    async def dig(self, *words: str, program: str = "dig") -> str:
        """Return what dig prints, which may not be a complaint."""
        process = await asyncio.create_subprocess_exec(
            find(program), "@127.0.0.1", "-p", str(self.port), *words, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(20):
            out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()
        return out.decode()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


async def both(server: Responder) -> tuple[UdpServer, TcpServer]:
    """Serve on one port that is free for both; a port free for one may be somebody's for the other."""
    for _ in range(20):
        udp = await serve_udp(server, "127.0.0.1", 0)
        try:
            return udp, await serve_tcp(server, "127.0.0.1", udp.port, LIMITS)
        except OSError:
            udp.close()
    raise AssertionError("no port is free for both UDP and TCP")


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Running]:
    view = StandingView(
        [
            instance("ip_intel", "10.0.0.1", addresses=("10.0.0.1", "2001:db8::1")),
            instance("ip_intel", "10.0.0.2", weight=9),
            *(instance("large", f"10.1.0.{n}") for n in range(200)),
        ]
    )
    server = responder(view)
    udp, tcp = await both(server)
    yield Running(view, server, udp, tcp)
    udp.close()
    udp.close()
    await tcp.close()
    await tcp.close()


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
async def test_dig_finds_a_service(running: Running, transport: str) -> None:
    assert set((await running.dig("+short", transport, f"ip-intel.{ZONE}")).split()) == {"10.0.0.1", "10.0.0.2"}
    assert (await running.dig("+short", transport, f"IP_Intel.{ZONE}", "AAAA")).split() == ["2001:db8::1"]
    srv = (await running.dig("+short", transport, f"_ip_intel._tcp.{ZONE}", "SRV")).splitlines()
    assert sorted(line.split()[:3] for line in srv) == [["0", "1", "8034"], ["0", "9", "8034"]]
    for line in srv:
        assert (await running.dig("+short", transport, line.split()[-1])).startswith("10.0.0.")


async def test_dig_reads_a_whole_message_without_complaint(running: Running) -> None:
    for words in (
        (f"ip-intel.{ZONE}",),
        (f"_ip_intel._tcp.{ZONE}", "SRV"),
        (f"nobody.{ZONE}",),
        (ZONE, "SOA"),
        (ZONE, "NS"),
    ):
        for more in ("+noedns", "+edns=0", "+bufsize=512", "+nocookie", "+cookie", "+dnssec", "+tcp"):
            out = await running.dig(*words, more)
            assert "WARNING" not in out.replace("WARNING: recursion requested but not available", ""), out
            assert ";; Got bad packet" not in out, out
            assert " aa " in out or " aa;" in out, out


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ((f"nobody.{ZONE}",), "NXDOMAIN"),
        ((f"ip-intel.{ZONE}", "MX"), "NOERROR"),
        ((f"_tcp.{ZONE}",), "NOERROR"),
        (("example.com",), "REFUSED"),
        ((ZONE, "AXFR"), ""),
        ((f"ip-intel.{ZONE}", "TYPE65280"), "NOERROR"),
        ((f"ip-intel.{ZONE}", "ANY"), "NOERROR"),
        (("-c", "CH", "version.bind", "TXT"), "REFUSED"),
        (("+edns=1", "+noednsneg", f"ip-intel.{ZONE}"), "BADVERS"),
        (("+opcode=5", f"ip-intel.{ZONE}"), "NOTIMP"),
        (("+header-only",), "FORMERR"),
        (("+ednsflags=0x4000", f"ip-intel.{ZONE}"), "NOERROR"),
        (("+ednsopt=65001:beef", f"ip-intel.{ZONE}"), "NOERROR"),
    ],
)
async def test_dig_is_told_what_is_wrong(running: Running, words: tuple[str, ...], status: str) -> None:
    out = await running.dig(*words)
    assert (f"status: {status}" if status else "Transfer failed") in out


async def test_dig_asks_again_over_tcp_and_gets_all_of_a_large_service(running: Running) -> None:
    assert len((await running.dig("+short", f"_large._tcp.{ZONE}", "SRV")).splitlines()) == 200
    cut = await running.dig("+ignore", f"_large._tcp.{ZONE}", "SRV")
    assert " tc" in cut
    addresses = await running.dig("+noedns", "+ignore", f"large.{ZONE}")
    assert " tc" not in addresses, "a part of the addresses is enough for who cannot ask over TCP"
    assert "ANSWER: 2" in addresses or "ANSWER: 3" in addresses


async def test_kdig_agrees(running: Running) -> None:
    out = await running.dig("+short", f"ip-intel.{ZONE}", program="kdig")
    assert set(out.split()) == {"10.0.0.1", "10.0.0.2"}
    assert len((await running.dig("+short", "+tcp", f"_large._tcp.{ZONE}", "SRV", program="kdig")).splitlines()) == 200


async def test_dig_shows_the_age_of_an_old_answer(running: Running) -> None:
    running.view.age(45)
    assert "EDE: 3 (Stale Answer)" in await running.dig(f"ip-intel.{ZONE}")


async def test_many_questions_at_once_are_each_answered(running: Running) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        asker.connect(("127.0.0.1", running.port))
        answered = set()
        for start in range(0, 1000, 100):
            for id_ in range(start, start + 100):
                await loop.sock_sendall(asker, question(f"ip-intel.{ZONE}", id_=id_))
            async with asyncio.timeout(10):
                for _ in range(100):
                    answered.add((await loop.sock_recv(asker, 4096))[:2])
        assert len(answered) == 1000


# -- TCP


async def test_several_questions_on_one_connection_are_answered_in_one_go(running: Running) -> None:
    reader, writer = await running.connect()
    queries = [question(f"ip-intel.{ZONE}", id_=n) for n in range(50)]
    writer.write(b"".join(len(q).to_bytes(2, "big") + q for q in queries))
    for n in range(50):
        answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        assert int.from_bytes(answer[:2], "big") == n
        assert data(parsed(answer)) == ["10.0.0.1", "10.0.0.2"]
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("sent", [b"", b"\0", b"\0\x40half a query", struct.pack("!H", 60000) + b"x" * 100])
async def test_who_says_nothing_or_half_a_question_or_too_much_is_let_go(running: Running, sent: bytes) -> None:
    reader, writer = await running.connect()
    writer.write(sent)
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    await eventually(lambda: running.tcp.connections == 0, "the connection is forgotten")


async def test_the_server_ends_while_somebody_is_connected(running: Running) -> None:
    reader, writer = await running.connect()
    await eventually(lambda: running.tcp.connections == 1, "the connection is served")
    await running.tcp.close()
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_no_more_connections_than_allowed_are_kept(running: Running) -> None:
    held = [await running.connect() for _ in range(LIMITS.connections)]
    await eventually(lambda: running.tcp.connections == LIMITS.connections, "all are served")
    reader, writer = await running.connect()
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    assert running.tcp.refused == 1
    for _, each in [*held, (reader, writer)]:
        each.close()


async def test_a_taken_port_is_an_error(running: Running) -> None:
    with pytest.raises(OSError, match="in use"):
        await serve_udp(running.server, "127.0.0.1", running.port)
    with pytest.raises(OSError, match="in use"):
        await serve_tcp(running.server, "127.0.0.1", running.port)
