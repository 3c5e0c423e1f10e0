"""Clients that hold connections for DNS: the others are answered over TCP all the same."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

from dns.responder import Responder
from dns.tcp import TcpLimits, TcpServer, serve_tcp
from registry_core.domain.connection_slots import Closing
from tests.attackers import attacking
from tests.programs import eventually
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, question, responder

SLOTS = TcpLimits().connections


def framed(query: bytes) -> bytes:
    return len(query).to_bytes(2) + query


QUERY = framed(question(f"ip-intel.{ZONE}"))


@contextlib.asynccontextmanager
async def listening(limits: TcpLimits | None = None) -> AsyncIterator[TcpServer]:
    tcp = await serve_tcp(responder(StandingView([instance("ip_intel", "10.0.0.1")])), "127.0.0.1", 0, limits)
    try:
        yield tcp
    finally:
        await tcp.close()


async def is_answered(port: int) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(QUERY)
        async with asyncio.timeout(10):
            length = int.from_bytes(await reader.readexactly(2))
            return len(await reader.readexactly(length)) == length
    except (ConnectionError, asyncio.IncompleteReadError):
        return False
    finally:
        writer.transport.abort()


async def test_one_process_that_idles_on_every_connection_locks_nobody_out() -> None:
    async with listening() as tcp, attacking(tcp.port) as attacker:
        await attacker.connect(SLOTS)
        served = [await is_answered(tcp.port) for _ in range(50)]
        assert served.count(False) == 0
        assert tcp.closed[Closing.IDLE]


async def test_asking_once_makes_no_connection_stay() -> None:
    async with listening() as tcp, attacking(tcp.port) as attacker:
        await attacker.ask(SLOTS, QUERY)
        served = [await is_answered(tcp.port) for _ in range(50)]
        assert served.count(False) == 0


async def test_half_a_query_makes_no_connection_stay() -> None:
    async with listening() as tcp, attacking(tcp.port) as attacker:
        await attacker.connect(SLOTS, QUERY[:-3])
        served = [await is_answered(tcp.port) for _ in range(50)]
        assert served.count(False) == 0


async def test_answers_that_nobody_reads_make_no_connection_stay() -> None:
    async with listening() as tcp, attacking(tcp.port) as attacker:
        flood = asyncio.gather(*(attacker.connect(1, QUERY * 3000) for _ in range(SLOTS // 10)))
        try:
            await attacker.connect(SLOTS)
            served = [await is_answered(tcp.port) for _ in range(50)]
            assert served.count(False) == 0
        finally:
            flood.cancel()
            await asyncio.gather(flood, return_exceptions=True)


async def test_who_has_asked_last_stays() -> None:
    async with listening(TcpLimits(connections=10)) as tcp, attacking(tcp.port) as client, attacking(tcp.port) as other:
        await client.ask(10, QUERY)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client.sockets[0], QUERY)
        assert await loop.sock_recv(client.sockets[0], 1000)
        await other.ask(5, QUERY)
        assert [await client.has_ended(number) for number in range(10)] == [False, *[True] * 5, *[False] * 4]


class LateResponder:
    """Answers every query when it is told to."""

    def __init__(self) -> None:
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def admits(self, _host: str) -> bool:
        return True

    def tcp(self, _query: bytes, _host: str, _idle_s: float, **_more: object) -> None:
        return None

    def take_later(self) -> asyncio.Future[bytes]:
        return self.reply


async def test_a_connection_whose_answer_came_late_is_idle_from_then_on() -> None:
    late = LateResponder()
    tcp = await serve_tcp(cast("Responder", late), "127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", tcp.port)
        writer.write(QUERY)
        await eventually(lambda: tcp.in_use == 1, "its query is in flight")
        late.reply.set_result(b"late")
        assert await asyncio.wait_for(reader.readexactly(6), 10) == b"\x00\x04late"
        assert tcp.in_use == 0
        writer.transport.abort()
    finally:
        await tcp.close()
