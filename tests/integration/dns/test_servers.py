"""The real sockets, queried by dig and kdig and by misbehaving clients."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dns.tcp import TcpLimits, serve_tcp
from dns.udp import serve_udp
from tests.integration.dns_servers import PATIENT, Running, both
from tests.programs import eventually
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, data, parsed, question, responder

IMPATIENT = TcpLimits(idle_s=0.3)


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
    await udp.close()
    await udp.close()
    await tcp.close()
    await tcp.close()


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
async def test_dig_finds_a_service(running: Running, transport: str) -> None:
    assert set((await running.dig("+short", transport, f"ip-intel.{ZONE}")).split()) == {"10.0.0.1", "10.0.0.2"}
    assert (await running.dig("+short", transport, f"IP_Intel.{ZONE}", "AAAA")).split() == ["2001:db8::1"]
    srv = (await running.dig("+short", transport, f"_ip_intel._tcp.{ZONE}", "SRV")).splitlines()
    assert sorted(line.split()[:3] for line in srv) == [["0", "2304", "8034"], ["0", "256", "8034"]]
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
        (("+header-only", "+nocookie"), "FORMERR"),
        (("+header-only",), "NOERROR"),  # it asks for a cookie
        (("+ednsflags=0x4000", f"ip-intel.{ZONE}"), "NOERROR"),
        (("+ednsopt=65001:beef", f"ip-intel.{ZONE}"), "NOERROR"),
    ],
)
async def test_dig_sees_the_status_of_an_error(running: Running, words: tuple[str, ...], status: str) -> None:
    out = await running.dig(*words)
    assert (f"status: {status}" if status else "Transfer failed") in out


async def test_dig_retries_over_tcp_and_gets_all_of_a_large_service(running: Running) -> None:
    assert len((await running.dig("+short", f"_large._tcp.{ZONE}", "SRV")).splitlines()) == 200
    cut = await running.dig("+ignore", f"_large._tcp.{ZONE}", "SRV")
    assert " tc" in cut
    addresses = await running.dig("+noedns", "+ignore", f"large.{ZONE}")
    assert " tc" not in addresses, "some of the addresses are enough for a client without TCP"
    assert "ANSWER: 2" in addresses or "ANSWER: 3" in addresses


async def test_kdig_agrees(running: Running) -> None:
    out = await running.dig("+short", f"ip-intel.{ZONE}", program="kdig")
    assert set(out.split()) == {"10.0.0.1", "10.0.0.2"}
    assert len((await running.dig("+short", "+tcp", f"_large._tcp.{ZONE}", "SRV", program="kdig")).splitlines()) == 200


async def test_dig_shows_the_age_of_an_old_answer(running: Running) -> None:
    running.view.age(45)
    assert "EDE: 3 (Stale Answer)" in await running.dig(f"ip-intel.{ZONE}")


async def test_many_simultaneous_queries_are_all_answered(running: Running) -> None:
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


async def test_pipelined_queries_are_answered_in_one_write(running: Running) -> None:
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
async def test_a_connection_with_no_query_half_a_query_or_too_much_is_closed(sent: bytes) -> None:
    tcp = await serve_tcp(responder(StandingView()), "127.0.0.1", 0, IMPATIENT)
    reader, writer = await asyncio.open_connection("127.0.0.1", tcp.port)
    writer.write(sent)
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.transport.abort()
    await eventually(lambda: tcp.connections == 0, "the connection is forgotten")
    await tcp.close()


async def test_the_server_closes_with_a_client_connected(running: Running) -> None:
    reader, writer = await running.connect()
    await eventually(lambda: running.tcp.connections == 1, "the connection is served")
    await running.tcp.close()
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_the_number_of_connections_is_limited(running: Running) -> None:
    held = [await running.connect() for _ in range(PATIENT.connections)]
    await eventually(lambda: running.tcp.connections == PATIENT.connections, "all are served")
    newcomer = await running.connect()
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionResetError):
            assert await held[0][0].read() == b""
    await eventually(lambda: running.tcp.connections == PATIENT.connections, "one has gone for another")
    assert running.tcp.closed == {"idle": 1}
    for _, each in [*held, newcomer]:
        each.close()


@pytest.mark.untraced
async def test_a_client_that_does_not_read_is_disconnected_and_delays_no_other(running: Running) -> None:
    greedy = socket.socket()
    greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    greedy.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(greedy, ("127.0.0.1", running.port))
    query = question(f"_large._tcp.{ZONE}", "SRV")  # 10 KiB of answer each time
    flood = asyncio.create_task(loop.sock_sendall(greedy, (len(query).to_bytes(2, "big") + query) * 5000))
    try:
        await eventually(lambda: sum(running.server.counters.values()) > 0, "it is served")
        assert len((await running.dig("+short", "+tcp", f"ip-intel.{ZONE}")).split()) == 2, "so are others meanwhile"
        await eventually(lambda: running.tcp.connections == 0, "it is let go")
    finally:
        flood.cancel()
        await asyncio.gather(flood, return_exceptions=True)
        greedy.close()


async def test_a_client_that_has_shut_down_its_side_still_gets_every_answer(running: Running) -> None:
    reader, writer = await running.connect()
    query = question(f"_large._tcp.{ZONE}", "SRV")
    writer.write((len(query).to_bytes(2, "big") + query) * 5)
    writer.write_eof()
    async with asyncio.timeout(10):
        received = await reader.read()
    writer.close()
    await writer.wait_closed()
    lengths = []
    while received:
        lengths.append(int.from_bytes(received[:2], "big"))
        received = received[2 + lengths[-1] :]
    assert lengths == [lengths[0]] * 5


async def test_a_connection_is_closed_after_its_limit_of_queries() -> None:
    server = responder(StandingView())
    tcp = await serve_tcp(server, "127.0.0.1", 0, TcpLimits(queries=3))
    reader, writer = await asyncio.open_connection("127.0.0.1", tcp.port)
    query = question(f"ip-intel.{ZONE}")
    writer.write((len(query).to_bytes(2, "big") + query) * 5)
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
    writer.transport.abort()
    await tcp.close()
    assert sum(server.counters.values()) == 3


# -- access


async def test_other_machines_are_refused_over_both_transports() -> None:
    server = responder(StandingView([instance("ip_intel", "10.0.0.1")]), allow_networks=("10.0.0.0/8",))
    udp, tcp = await both(server)
    running = Running(StandingView(), server, udp, tcp)
    for transport in ("+notcp", "+tcp"):
        out = await running.dig(transport, f"ip-intel.{ZONE}")
        assert "status: REFUSED" in out
        assert "EDE: 18 (Prohibited)" in out
        assert "10.0.0.1" not in out
    await udp.close()
    await tcp.close()


async def test_a_taken_port_is_an_error(running: Running) -> None:
    with pytest.raises(OSError, match="in use"):
        await serve_udp(running.server, "127.0.0.1", running.port)
    with pytest.raises(OSError, match="in use"):
        await serve_tcp(running.server, "127.0.0.1", running.port)
