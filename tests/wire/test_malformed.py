"""No packet, however malformed, makes the server raise, stop, grow, or answer where it must not."""

from __future__ import annotations

import asyncio
import gc
import socket
from types import SimpleNamespace

import pytest

from dns.answer_cache import CacheLimits
from dns.one_by_one_udp import OneByOne
from dns.tcp import serve_tcp
from dns.udp import ExchangeMaker, fastest, serve_udp
from tests.samples import FakeClock, instance
from tests.views import StandingView
from tests.wire.asking import ZONE, data, parsed, question, responder
from tests.wire.packets import CORPUS, GOOD, header, malformed

COUNT = 20_000
SEED = 20_251


@pytest.mark.untraced
def test_twenty_thousand_malformed_packets_change_nothing() -> None:
    server = responder(StandingView([instance("ip_intel", "10.0.0.1")]))
    for number, packet in enumerate(malformed(COUNT, SEED)):
        for answer in (server.udp(packet), server.tcp(packet)):
            if answer is None:
                assert len(packet) < 12 or packet[2] & 0x80, packet.hex()
            else:
                assert answer[:2] == packet[:2]
                assert answer[2] & 0x80, "an answer has QR set"
        if number % 500 == 0:
            assert data(parsed(server.udp(GOOD))) == ["10.0.0.1"]
    assert server.failures == 0, "there were no unexpected errors"
    assert server.malformed > COUNT / 4


@pytest.mark.untraced
def test_packets_from_elsewhere_change_nothing_either_over_the_limit_and_under_it() -> None:
    for rate_limit in (3, 1_000_000):
        clock = FakeClock()
        networks = ("127.0.0.0/8", "10.0.0.0/8")
        server = responder(
            StandingView([instance("ip_intel", "10.0.0.1")]),
            clock=clock,
            allow_networks=networks,
            rate_limit=rate_limit,
        )
        for number, packet in enumerate(malformed(COUNT // 4, SEED)):
            for host in ("10.0.0.9", "192.0.2.9", "fe80::9%eth0"):
                answer = server.remote(packet, host)
                assert answer is None or answer[:2] == packet[:2]
            if number % 500 == 0:
                clock.pass_time(1)
                assert data(parsed(server.remote(GOOD, "10.1.1.1"))) == ["10.0.0.1"]
        assert server.failures == 0
        assert (server.limited > 0) == (rate_limit == 3)


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (header(qd=0), 1),
        (header(qd=2) + GOOD[12:34] * 2, 1),
        (header() + b"\xc0\x0c\0\1\0\1", 1),
        (header() + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", 1),
        (header(flags=5 << 11) + GOOD[12:], 4),
        (header(flags=2 << 11), 4),
        *((packet, 1) for packet in CORPUS if packet[10:12] == b"\0\2"),  # two OPT records
    ],
)
def test_malformed_queries_get_a_format_error(packet: bytes, code: int) -> None:
    answer = responder(StandingView()).udp(packet)
    assert answer is not None
    assert answer[3] & 0x8F == code, "no RA either"


def test_the_longest_name_is_still_a_name() -> None:
    longest = header() + (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0\0\1\0\1"
    answer = responder(StandingView()).udp(longest)
    assert answer is not None
    assert answer[3] & 0xF == 5, "a well-formed query for a foreign name"


def test_an_internal_error_is_a_servfail_and_the_next_query_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    server = responder(StandingView([instance("ip_intel", "10.0.0.1")]))

    def broken(*_: object) -> None:
        raise RuntimeError("a fault that nobody thought of")

    logged: list[str] = []
    log = SimpleNamespace(exception=lambda event, **_: logged.append(event))
    with monkeypatch.context() as patched:
        patched.setattr("dns.responder._log", log)
        patched.setattr("dns.codec.read", broken)
        answer = server.udp(GOOD)
        assert answer is not None
        assert (answer[:2], answer[3] & 0xF) == (GOOD[:2], 2)
        assert server.udp(b"") is None
        for _ in range(10):
            server.udp(GOOD)
    assert server.failures == 12
    assert logged == ["query_failed"] * 4, "the 1st, 2nd, 4th and 8th: a packet that fails does not fill the disk"
    assert data(parsed(server.udp(GOOD))) == ["10.0.0.1"]


def test_a_flood_of_random_names_neither_grows_the_cache_nor_evicts_good_answers() -> None:
    limits = CacheLimits(entries=1000, bytes=1_000_000)
    server = responder(StandingView([instance("ip_intel", "10.0.0.1")]), cache=limits)
    server.udp(GOOD)
    for number in range(5000):
        server.udp(question(f"x{number}.{ZONE}"))
    hits = server.hits
    server.udp(GOOD)
    assert server.hits == hits + 1
    assert server.cache_entries <= 2 * limits.entries
    assert server.cache_bytes <= 2 * limits.bytes
    assert server.evictions >= 4000


def test_many_spellings_of_a_name_share_one_answer_in_each_spelling() -> None:
    server = responder(StandingView([instance("ip_intel", "10.0.0.1")]))
    for number in range(2**8):
        name = "".join(c.upper() if number >> i & 1 else c for i, c in enumerate("ip-intel"))
        answer = parsed(server.udp(question(f"{name}.{ZONE}")))
        assert data(answer) == ["10.0.0.1"]
        assert str(answer.q.qname) == f"{name}.{ZONE}."
    assert (server.misses, server.cache_entries) == (1, 1)


def test_a_flood_of_queries_for_one_name_evicts_no_answer_in_use() -> None:
    """Every payload size is another key, whose answer exists."""
    server = responder(StandingView([instance("ip_intel", "10.0.0.1")]), cache=CacheLimits(entries=100))
    server.udp(GOOD)
    for number in range(2000):
        server.udp(GOOD)
        server.udp(question(f"ip-intel.{ZONE}", edns=513 + number))
    assert server.misses <= 2001
    assert server.cache_entries <= 100


@pytest.mark.parametrize("exchange", [fastest, OneByOne])
async def test_the_real_sockets_survive_the_corpus(exchange: ExchangeMaker) -> None:
    server = responder(StandingView([instance("ip_intel", "10.0.0.1")]))
    udp = await serve_udp(server, "127.0.0.1", 0, exchange=exchange)
    tcp = await serve_tcp(server, "127.0.0.1", 0)
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        asker.connect(("127.0.0.1", udp.port))
        for packet in malformed(1000, SEED):
            await loop.sock_sendall(asker, packet[:60_000])
        good = question(f"ip-intel.{ZONE}", id_=99)
        async with asyncio.timeout(10):
            await loop.sock_sendall(asker, good)
            while (answer := await loop.sock_recv(asker, 4096))[:2] != good[:2]:
                pass
        assert data(parsed(answer)) == ["10.0.0.1"]
    for packet in CORPUS:
        reader, writer = await asyncio.open_connection("127.0.0.1", tcp.port)
        writer.write(len(packet).to_bytes(2, "big") + packet)
        writer.write(len(GOOD).to_bytes(2, "big") + GOOD)
        writer.write_eof()
        async with asyncio.timeout(10):
            await reader.read()
        writer.close()
        await writer.wait_closed()
    assert server.failures == 0
    await udp.close()
    await tcp.close()


def test_memory_does_not_grow_with_malformed_packets() -> None:
    server = responder(StandingView([instance("ip_intel", "10.0.0.1")]))
    for packet in malformed(3000, 1):
        server.udp(packet)
    gc.collect()
    before = len(gc.get_objects())
    for packet in malformed(3000, 1):
        server.udp(packet)
    gc.collect()
    assert len(gc.get_objects()) - before < 500
