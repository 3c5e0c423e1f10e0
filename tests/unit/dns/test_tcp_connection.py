"""One TCP connection for DNS: what it takes, sends, and when it ends; by a transport that writes down what it is told.

The transports of real sockets are those of tests/integration/dns.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
import pytest_asyncio

from dns.responder import Responder
from dns.tcp import MANY_LOOPBACK, TcpLimits, TcpServer
from dns.tcp_connection import BATCH, READ_OCTETS, WAITING, DnsConnection
from registry_core.domain.connection_slots import Closing
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, question, responder

LIMITS = TcpLimits(connections=10, of_one_host=2, queries=1000)


class WrittenDown(asyncio.Transport):
    """A transport whose peer reads everything at once, until it is told otherwise."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__({"peername": (host, port)})
        self.written: list[bytes] = []
        self.connection: DnsConnection | None = None
        self.is_reading_on = True
        self.closed = self.aborted = False
        self.reads_answers = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (0, None)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.written.append(bytes(data))
        if not self.reads_answers and self.connection is not None:
            self.connection.pause_writing()

    def pause_reading(self) -> None:
        self.is_reading_on = False

    def resume_reading(self) -> None:
        self.is_reading_on = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True
        if self.connection is not None:
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    @property
    def answers(self) -> list[bytes]:
        return split(b"".join(self.written))


def split(octets: bytes) -> list[bytes]:
    messages = []
    while octets:
        end = 2 + int.from_bytes(octets[:2])
        messages.append(octets[2:end])
        octets = octets[end:]
    return messages


def framed(query: bytes) -> bytes:
    return len(query).to_bytes(2) + query


QUERY = framed(question(f"ip-intel.{ZONE}"))


class LateResponder:
    """Answers every query later, when it is told to."""

    def __init__(self) -> None:
        self.replies: list[asyncio.Future[bytes]] = []
        self.askers: list[object] = []

    def admits(self, _host: str) -> bool:
        return True

    def tcp(self, _query: bytes, _host: str, _idle_s: float, port: object) -> None:
        self.askers.append(port)

    def take_later(self) -> asyncio.Future[bytes]:
        self.replies.append(asyncio.get_running_loop().create_future())
        return self.replies[-1]


class Ends:
    """A server without a socket, and connections to it."""

    def __init__(self, answering: object, limits: TcpLimits = LIMITS) -> None:
        self.server = TcpServer(cast("Responder", answering), limits)

    def connect(self, host: str = "127.0.0.1", port: int = 1) -> tuple[DnsConnection, WrittenDown]:
        transport = WrittenDown(host, port)
        transport.connection = connection = DnsConnection(self.server)
        connection.connection_made(transport)
        return connection, transport

    def send(self, connection: DnsConnection, octets: bytes) -> None:
        while octets:
            buffer = connection.get_buffer(-1)
            piece, octets = octets[: len(buffer)], octets[len(buffer) :]
            buffer[: len(piece)] = piece
            connection.buffer_updated(len(piece))


@pytest_asyncio.fixture
async def ends() -> AsyncIterator[Ends]:
    view = StandingView(
        [instance("ip_intel", "10.0.0.1"), *(instance("large", f"10.1.0.{number}") for number in range(200))]
    )
    made = Ends(responder(view, allow_networks=("127.0.0.0/8", "10.0.0.0/8")))
    yield made
    await made.server.close()


async def test_many_queries_on_one_connection_do_not_starve_others(ends: Ends) -> None:
    """All of them arrive at once, so that reading never waits: it must let others in by itself."""
    connection, transport = ends.connect()
    ends.send(connection, QUERY * 100)
    seen = {len(transport.answers)}
    while len(transport.answers) < 100:
        assert not transport.is_reading_on, "what waits is bounded by one read"
        await asyncio.sleep(0)
        seen.add(len(transport.answers))
    assert len(seen) >= 100 // BATCH
    assert transport.is_reading_on
    assert len(connection._rest) == 0


async def test_a_connection_that_asks_once_does_not_stand_behind_those_that_ask_for_much(ends: Ends) -> None:
    greedy = [ends.connect(port=number) for number in range(8)]
    for connection, _ in greedy:
        ends.send(connection, QUERY * 100)
    good, transport = ends.connect(port=99)
    ends.send(good, QUERY)
    assert len(transport.answers) == 1


async def test_processes_take_turns_however_many_connections_one_has() -> None:
    ends = Ends(responder(StandingView([instance("ip_intel", "10.0.0.1")])), TcpLimits(connections=100))
    greedy = [ends.connect(port=number)[0] for number in range(8)]
    good, transport = ends.connect(port=99)
    ends.server._belong(dict.fromkeys(range(8), "pid 66") | {99: "pid 1"})
    for connection in (*greedy, good):
        ends.send(connection, QUERY * 100)
    turns = 0
    while len(transport.answers) < 100:
        await asyncio.sleep(0)
        turns += 1
    assert turns <= 100 // BATCH + 2, "one batch in each turn"
    await ends.server.close()


async def test_a_length_is_never_apart_from_its_answer(ends: Ends) -> None:
    """Some clients cannot reassemble two segments (RFC 7766 section 8)."""
    connection, transport = ends.connect()
    ends.send(connection, framed(question(f"_large._tcp.{ZONE}", "SRV")) * 3)
    assert [len(split(each)) for each in transport.written] == [1, 1, 1]
    ends.send(connection, QUERY * 3)
    assert [len(split(each)) for each in transport.written[3:]] == [3], "small ones are sent together"


async def test_octet_by_octet_is_as_good_as_at_once(ends: Ends) -> None:
    connection, transport = ends.connect()
    for octet in QUERY + QUERY:
        ends.send(connection, bytes([octet]))
    assert len(transport.answers) == 2


async def test_one_host_cannot_take_all_connections(ends: Ends) -> None:
    for host, expected in (("10.0.0.1", [True, True, False, False]), ("10.0.0.2", [False]), ("127.0.0.1", [False] * 4)):
        transports = [ends.connect(host)[1] for _ in expected]
        assert [each.aborted for each in transports] == expected, f"of {host} the longest idle ones"
    assert ends.server.closed == {Closing.IDLE: 2}


async def test_a_connection_accepted_before_the_close_is_not_served_after_it(ends: Ends) -> None:
    await ends.server.close()
    _, transport = ends.connect()
    assert transport.aborted
    assert ends.server.connections == 0


async def test_a_peer_that_does_not_read_is_asked_for_nothing_more(ends: Ends) -> None:
    connection, transport = ends.connect()
    transport.reads_answers = False
    ends.send(connection, QUERY * 20)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(transport.answers) == BATCH
    assert not transport.is_reading_on
    assert len(connection._rest) <= READ_OCTETS
    transport.reads_answers = True
    connection.resume_writing()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(transport.answers) == 20
    assert transport.is_reading_on


async def test_what_was_asked_before_the_end_is_answered_before_the_close(ends: Ends) -> None:
    connection, transport = ends.connect()
    ends.send(connection, QUERY * 20 + QUERY[:-3])
    assert connection.eof_received()
    assert not transport.is_closing()
    for _ in range(4):
        await asyncio.sleep(0)
    assert len(transport.answers) == 20
    assert transport.closed
    assert not transport.aborted


async def test_late_answers_are_sent_before_the_close() -> None:
    late = LateResponder()
    ends = Ends(late)
    connection, transport = ends.connect()
    ends.send(connection, QUERY * 2)
    connection.eof_received()
    late.replies[1].set_result(b"second")
    await asyncio.sleep(0)
    assert transport.answers == [b"second"], "and it is open"
    late.replies[0].set_result(b"first")
    await asyncio.sleep(0)
    assert (transport.answers, transport.closed) == ([b"second", b"first"], True)


async def test_so_many_questions_wait_for_resolvers_and_no_more() -> None:
    late = LateResponder()
    ends = Ends(late)
    connection, transport = ends.connect()
    ends.send(connection, QUERY * (WAITING + 5))
    for _ in range(WAITING // BATCH + 2):
        await asyncio.sleep(0)
    assert len(late.replies) == WAITING
    assert not transport.is_reading_on
    late.replies[3].set_result(b"one")
    await asyncio.sleep(0)
    assert len(late.replies) == WAITING + 1


async def test_nothing_is_done_for_a_client_that_has_left() -> None:
    late = LateResponder()
    ends = Ends(late)
    connection, transport = ends.connect()
    ends.send(connection, QUERY)
    transport.closed = True
    connection.connection_lost(None)
    assert late.replies[0].cancelled()
    await asyncio.sleep(0)
    assert transport.written == []
    assert ends.server.connections == 0


async def test_a_client_that_leaves_does_not_wait_for_its_turn(ends: Ends) -> None:
    """Clients that come, ask and leave faster than turns are given would fill the memory."""
    connection, _ = ends.connect()
    ends.send(connection, QUERY * (BATCH + 1))
    assert len(ends.server.turns) == 1
    connection.connection_lost(None)
    assert len(ends.server.turns) == 0


async def test_a_process_that_is_known_is_one_asker_whatever_its_connections() -> None:
    late = LateResponder()
    ends = Ends(late)
    first, second, other = (ends.connect(port=number)[0] for number in (11, 12, 13))
    ends.server._belong({11: "pid 66", 12: "pid 66"})
    for connection in (first, second, other):
        ends.send(connection, QUERY)
    assert late.askers == ["pid 66", "pid 66", 13]


async def test_of_many_loopback_connections_it_is_found_out_whose_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    ends, asked = Ends(LateResponder(), TcpLimits(connections=100)), list[int]()
    monkeypatch.setattr(ends.server._survey, "begin", asked.append)
    monkeypatch.setattr(TcpServer, "port", 8653)
    for number in range(MANY_LOOPBACK):
        ends.connect(port=number)
    assert asked == [], "few need not be told apart"
    ends.connect(port=99)
    assert asked == [8653]
    ends.server._belong(dict.fromkeys(range(MANY_LOOPBACK), "pid 66"))
    ends.connect(port=100)
    assert asked == [8653], "those that are known do not count"


async def test_a_network_of_addresses_is_one_asker() -> None:
    late = LateResponder()
    ends = Ends(late)
    for number in range(2):
        connection, _ = ends.connect(host=f"2001:db8::{number}", port=number)
        ends.send(connection, QUERY)
    assert late.askers == ["2001:db8::/64"] * 2
