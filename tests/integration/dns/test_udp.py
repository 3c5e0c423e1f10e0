"""What every way to take datagrams off a socket has to do: the batched one, and the one that works everywhere."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gc
import socket
import time
from collections.abc import AsyncIterator, Hashable, Iterator

import pytest
import pytest_asyncio

from dns.batched_udp import _SMALL_BATCH, Batched
from dns.beside_loop import BesideLoop
from dns.codec import Answer, Query, Rcode
from dns.datagram_ages import DatagramAges
from dns.dear_work import DearWork
from dns.forwarding import ForeignAnswer
from dns.mmsg import SystemCalls
from dns.one_by_one_udp import BATCH, MAX_QUERY, OneByOne
from dns.reply_source import Ancillary, ReplySource
from dns.responder import Responder
from dns.udp import ExchangeMaker, UdpServer, fastest, serve_udp
from registry_core.resolution import can_be_bound
from tests.integration.dns_servers import EXCHANGE_NAMES, EXCHANGES, ON_THE_LOOP, address_in_the_network, batched
from tests.programs import eventually
from tests.samples import FakeClock, instance
from tests.views import StandingView
from tests.wire.asking import ZONE, data, parsed, question, rcode, responder

QUERY = question(f"ip-intel.{ZONE}")
HAS_IPV6 = can_be_bound("::1")


class Asked:
    """Somebody who is asked for the names of others, and answers when told to."""

    def __init__(self) -> None:
        self.questions: list[tuple[Query, asyncio.Future[ForeignAnswer]]] = []

    def answer(self, query: Query, message: bytes, asker: Hashable = None) -> asyncio.Future[ForeignAnswer]:
        assert asker is not None
        assert message[:2] == query.id.to_bytes(2)
        self.questions.append((query, asyncio.get_running_loop().create_future()))
        return self.questions[-1][1]

    def say(self, number: int) -> None:
        self.questions[number][1].set_result(Answer(Rcode.NOERROR, authoritative=False))


@pytest.fixture(params=EXCHANGES, ids=EXCHANGE_NAMES)
def exchange(request: pytest.FixtureRequest) -> ExchangeMaker:
    maker: ExchangeMaker = request.param
    return maker


@pytest.fixture
def view() -> StandingView:
    return StandingView(
        [instance("ip_intel", "10.0.0.1"), instance("ip_intel", "10.0.0.2"), instance("one", "10.0.0.9")]
    )


@pytest.fixture
def server(view: StandingView) -> Responder:
    return responder(view)


@pytest_asyncio.fixture
async def udp(server: Responder, exchange: ExchangeMaker) -> AsyncIterator[UdpServer]:
    running = await serve_udp(server, "127.0.0.1", 0, exchange=exchange)
    yield running
    await running.close()
    await running.close()


@pytest.fixture
def asker(udp: UdpServer) -> Iterator[socket.socket]:
    with connected(udp.port) as sock:
        yield sock


def connected(port: int, host: str = "127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.connect((host, port))
    return sock


async def heard(sock: socket.socket) -> bytes:
    async with asyncio.timeout(10):
        return await asyncio.get_running_loop().sock_recv(sock, 65535)


def answered(server: Responder) -> int:
    return sum(server.counters.values())


async def test_this_system_is_served_in_batches_and_beside_the_loop() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as listening:
        assert isinstance(fastest(responder(StandingView()), listening, None), BesideLoop)


async def test_each_asker_gets_the_answer_to_its_question_under_its_id(udp: UdpServer) -> None:
    """In one batch: ready answers, answers to be made, names that are missing, spellings, and what is no query."""
    names = ["ip-intel", "one", "nobody", "ONE", "Ip-Intel"]
    askers = [connected(udp.port) for _ in range(40)]
    for turn in range(3):
        for number, sock in enumerate(askers):
            sock.send(
                question(f"{names[number % 5]}.{ZONE}", id_=turn * 1000 + number) if number % 7 else b"\0" * number
            )
        for number, sock in enumerate(askers):
            if number % 7 == 0:
                continue
            name = names[number % 5]
            answer = parsed(await heard(sock))
            assert answer.header.id == turn * 1000 + number
            assert str(answer.q.qname) == f"{name}.{ZONE}."
            wanted = {"one": ["10.0.0.9"], "nobody": []}.get(name.lower(), ["10.0.0.1", "10.0.0.2"])
            assert data(answer) == wanted
    for sock in askers:
        sock.close()


async def test_a_burst_is_answered_in_full(udp: UdpServer, asker: socket.socket, server: Responder) -> None:
    server.udp(question(f"one.{ZONE}"))
    for id_ in range(3 * BATCH):
        asker.send(question(f"one.{ZONE}", id_=id_))
    ids = {int.from_bytes((await heard(asker))[:2]) for _ in range(3 * BATCH)}
    assert ids == set(range(3 * BATCH))
    await eventually(lambda: answered(server) == 3 * BATCH + 1, "each is counted")
    assert udp.received == 3 * BATCH


@pytest.mark.parametrize("exchange", ON_THE_LOOP)
async def test_a_burst_is_taken_from_the_loop_in_batches(
    udp: UdpServer, asker: socket.socket, server: Responder
) -> None:
    server.udp(question(f"one.{ZONE}"))
    for id_ in range(3 * BATCH):
        asker.send(question(f"one.{ZONE}", id_=id_))
    seen: set[int] = set()
    async with asyncio.timeout(10):
        while (now := answered(server)) < 3 * BATCH + 1:
            seen.add(now)
            await asyncio.sleep(0)
    assert seen >= {BATCH + 1, 2 * BATCH + 1}, "the loop has its turn between them"


async def test_a_change_is_in_the_next_answer(udp: UdpServer, asker: socket.socket, view: StandingView) -> None:
    for number in range(50):
        view.become(instance("one", f"10.9.0.{number}"), instance("other", "10.0.0.1"))
        for name, address in (("one", f"10.9.0.{number}"), ("other", "10.0.0.1")) * 2:
            asker.send(question(f"{name}.{ZONE}"))
            assert data(parsed(await heard(asker))) == [address]


async def test_who_needs_no_answer_is_sent_nothing(udp: UdpServer, asker: socket.socket) -> None:
    an_answer = QUERY[:2] + b"\x81" + QUERY[3:]
    with connected(udp.port) as silent:
        for id_ in range(1, 4):
            asker.send(question(f"one.{ZONE}"))
            for nothing in (b"", b"\0", an_answer):
                silent.send(nothing)
            silent.send(question(f"one.{ZONE}", id_=id_))
            assert parsed(await heard(silent)).header.id == id_
            assert data(parsed(await heard(asker))) == ["10.0.0.9"]


async def test_orders_rotate_on_the_wire(
    udp: UdpServer, asker: socket.socket, view: StandingView, server: Responder
) -> None:
    view.put(*(instance("many", f"10.3.0.{n}") for n in range(8)))
    firsts = []
    for _ in range(64):
        asker.send(question(f"many.{ZONE}"))
        firsts.append(str(parsed(await heard(asker)).rr[0].rdata))
    assert all(abs(firsts.count(f"10.3.0.{n}") - 8) <= 2 for n in range(8))
    assert server.misses == 8, "the others were ready"


@pytest.mark.parametrize("size", [0, 1, 2, 11, 12, 255, 256, 257, 600, MAX_QUERY, MAX_QUERY + 1, 9000, 65507])
async def test_a_datagram_of_any_length_changes_nothing_for_its_neighbours(
    udp: UdpServer, asker: socket.socket, server: Responder, size: int
) -> None:
    other = connected(udp.port)
    for _ in range(3):
        asker.send(question(f"one.{ZONE}"))
        other.send((question(f"one.{ZONE}") + bytes(65507))[:size])
        asker.send(question(f"one.{ZONE}"))
        for _ in range(2):
            assert data(parsed(await heard(asker))) == ["10.0.0.9"]
    other.close()
    assert server.failures == 0


async def test_a_long_query_is_answered(udp: UdpServer, asker: socket.socket) -> None:
    """Padding (RFC 7830) makes queries longer than what is looked up."""
    padded = question(f"one.{ZONE}")[:10] + b"\0\1" + question(f"one.{ZONE}")[12:]
    padded += b"\0\0\x29\x04\xd0\0\0\0\0" + (4 + 400).to_bytes(2) + b"\0\x0c" + (400).to_bytes(2) + bytes(400)
    asker.send(padded)
    answer = await heard(asker)
    assert data(parsed(answer)) == ["10.0.0.9"]


async def test_a_key_that_would_end_in_its_neighbours_slot_is_no_key(udp: UdpServer, server: Responder) -> None:
    """The neighbour's octets complete another's query to one that has a ready answer: they may not."""
    label = "a" * 57
    long = question(f"{label}.{label}.{label}.{label}.{ZONE}", edns=1232)
    assert len(long) > 256
    for _ in range(3):
        server.udp(long)
    first, second = connected(udp.port), connected(udp.port)
    first.send(long[:256] + b"\xff" * (len(long) - 256))
    second.send(b"\0\0" + long[256:])
    assert parsed(await heard(first)).header.rcode == 1
    first.close()
    second.close()


async def test_strangers_are_refused_and_the_others_are_not(view: StandingView, exchange: ExchangeMaker) -> None:
    server = responder(view, allow_networks=("127.0.0.1/32",))
    udp = await serve_udp(server, "127.0.0.1", 0, exchange=exchange)
    friend, stranger = connected(udp.port), socket.socket(type=socket.SOCK_DGRAM)
    stranger.setblocking(False)
    stranger.bind(("127.0.0.2", 0))
    stranger.connect(("127.0.0.1", udp.port))
    for _ in range(3):
        friend.send(question(f"one.{ZONE}"))
        stranger.send(question(f"one.{ZONE}"))
        friend.send(question(f"one.{ZONE}"))
        assert rcode(parsed(await heard(stranger))) == "REFUSED"
        for _ in range(2):
            assert data(parsed(await heard(friend))) == ["10.0.0.9"]
    assert server.prohibited == 3
    for sock in (friend, stranger):
        sock.close()
    await udp.close()


@pytest.mark.parametrize("host", ["::1", "::", "localhost"])  # of `::`, IPv4 is a part
async def test_ipv6_and_names_can_be_listened_on(view: StandingView, exchange: ExchangeMaker, host: str) -> None:
    server = responder(view)
    udp = await serve_udp(server, host, 0, exchange=exchange)
    for asked in ("127.0.0.1", "::1") if host == "::" else ("::1",) if host == "::1" else ("127.0.0.1",):
        if ":" in asked and not HAS_IPV6:
            continue
        sock = connected(udp.port, asked)
        for _ in range(3):
            sock.send(question(f"one.{ZONE}"))
            assert data(parsed(await heard(sock))) == ["10.0.0.9"], asked
        sock.close()
    await udp.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_an_answer_leaves_from_the_address_that_was_asked(
    view: StandingView, exchange: ExchangeMaker, host: str
) -> None:
    """The routes would have it leave from 127.0.0.1. A connected socket gets answers from its peer alone."""
    asked = Asked()
    udp = await serve_udp(responder(view, forwarder=asked), host, 0, exchange=exchange)
    peers = ("127.0.0.1", "127.0.0.2", "127.3.4.5")
    askers = [connected(udp.port, peer) for peer in peers]
    for turn in range(4):
        for sock in askers:  # in one batch: ready, new, long
            sock.send(question(f"one.{ZONE}", id_=turn))
            sock.send(question(f"x{turn}.{ZONE}", id_=100 + turn))
        for sock in askers:
            assert [(await heard(sock))[:2] for _ in range(2)] == [bytes([0, turn]), bytes([0, 100 + turn])]
    for number, sock in enumerate(askers):
        sock.send(question(f"n{number}.example", id_=200 + number))
    await eventually(lambda: len(asked.questions) == len(peers), "all have asked")
    for number in (2, 0, 1):  # and late
        asked.say(number)
        assert (await heard(askers[number]))[:2] == bytes([0, 200 + number])
    for sock in askers:
        sock.close()
    await udp.close()


@pytest.mark.parametrize("broken", ["enable", "of"])
async def test_a_sandbox_that_cannot_say_or_choose_the_address_answers_all_the_same(
    view: StandingView, exchange: ExchangeMaker, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def refused(*_: object) -> Ancillary:
        if broken == "enable":
            raise OSError(errno.ENOPROTOOPT, "Protocol not available")
        return ()

    monkeypatch.setattr(ReplySource, broken, refused)
    udp = await serve_udp(responder(view), "::", 0, exchange=exchange)
    with connected(udp.port) as sock:
        for _ in range(3):
            sock.send(question(f"one.{ZONE}"))
            assert data(parsed(await heard(sock))) == ["10.0.0.9"]
    await udp.close()


async def test_askers_that_are_gone_stop_nothing(udp: UdpServer, asker: socket.socket) -> None:
    """An answer to a closed port comes back as an error, which is none of the next asker's."""
    for _ in range(50):
        with connected(udp.port) as gone:
            gone.send(QUERY)
    asker.send(QUERY)
    assert len(data(parsed(await heard(asker)))) == 2


async def test_memory_does_not_grow_with_queries(udp: UdpServer, asker: socket.socket, server: Responder) -> None:
    async def ask(count: int) -> None:
        async with asyncio.timeout(30):  # one timer: asyncio keeps those that were cancelled for a while
            for number in range(count):
                asker.send(question(f"one.{ZONE}", id_=number & 0xFFFF))
                await asyncio.get_running_loop().sock_recv(asker, 65535)

    await ask(200)
    gc.collect()
    before = len(gc.get_objects())
    await ask(1000)
    gc.collect()
    assert len(gc.get_objects()) - before < 100


# -- answers that others have to be asked for


@pytest_asyncio.fixture(params=["127.0.0.1", "::1"])
async def forwarding(
    request: pytest.FixtureRequest, view: StandingView, exchange: ExchangeMaker
) -> AsyncIterator[tuple[str, UdpServer, Asked]]:
    asked = Asked()
    try:
        udp = await serve_udp(responder(view, forwarder=asked), request.param, 0, exchange=exchange)
    except OSError:
        pytest.skip("this machine has no such address")
    yield request.param, udp, asked
    await udp.close()


async def test_an_answer_that_comes_later_goes_to_who_asked(forwarding: tuple[str, UdpServer, Asked]) -> None:
    """Others have been answered from the same places meanwhile."""
    host, udp, asked = forwarding
    askers = [connected(udp.port, host) for _ in range(3)]
    for number, sock in enumerate(askers):
        sock.send(question(f"n{number}.example", id_=number))
    await eventually(lambda: len(asked.questions) == 3, "all have asked")
    with connected(udp.port, host) as other:
        for id_ in range(10, 20):
            other.send(question(f"one.{ZONE}", id_=id_))
            assert data(parsed(await heard(other))) == ["10.0.0.9"]
    for number in (2, 0, 1):
        asked.say(number)
        answer = parsed(await heard(askers[number]))
        assert (answer.header.id, str(answer.q.qname)) == (number, f"n{number}.example.")
    for sock in askers:
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        sock.close()
    assert udp.dropped == 0


async def test_whoever_gets_no_answer_after_all_is_sent_nothing(forwarding: tuple[str, UdpServer, Asked]) -> None:
    host, udp, asked = forwarding
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    with connected(udp.port, host) as asker:
        for number in range(2):
            asker.send(question(f"n{number}.example", id_=number))
        await eventually(lambda: len(asked.questions) == 2, "both questions are there")
        asked.questions[0][1].cancel()
        asked.say(1)
        assert (await heard(asker))[:2] == b"\0\1"
        asker.send(question("n2.example", id_=2))
        await eventually(lambda: len(asked.questions) == 3, "there is another")
        await udp.close()
        asked.say(2)
        await asyncio.sleep(0)
        with pytest.raises((BlockingIOError, ConnectionRefusedError)):
            asker.recv(1)
    assert (udp.dropped, complaints) == (0, [])


async def test_in_one_batch_the_answers_of_other_machines_are_limited_and_those_of_this_one_are_not(
    view: StandingView, exchange: ExchangeMaker
) -> None:
    host = address_in_the_network()
    asked = Asked()
    networks = ("127.0.0.0/8", f"{host}/32")
    server = responder(view, clock=FakeClock(), forwarder=asked, allow_networks=networks, rate_limit=2)
    udp = await serve_udp(server, "0.0.0.0", 0, exchange=exchange)
    with connected(udp.port) as here, connected(udp.port, host) as elsewhere:
        for id_ in range(6):
            elsewhere.send(question(f"one.{ZONE}", id_=id_))
            here.send(question(f"one.{ZONE}", id_=id_))
            elsewhere.send(question("www.example", id_=100 + id_))
        for id_ in range(6):
            answer = parsed(await heard(here))
            assert (answer.header.id, data(answer)) == (id_, ["10.0.0.9"])
        got = [parsed(await heard(elsewhere)) for _ in range(6)]
        assert [(a.header.id, a.header.tc, len(a.rr)) for a in got] == [
            (0, 0, 1),
            (1, 0, 1),
            (2, 1, 0),
            (102, 1, 0),
            (4, 1, 0),
            (104, 1, 0),
        ]
        assert server.limited == 8
        for number in range(2):
            asked.say(number)
            assert parsed(await heard(elsewhere)).header.id == 100 + number
        for number in range(2, len(asked.questions)):
            asked.say(number)
        await asyncio.sleep(0)
        with pytest.raises(BlockingIOError):
            elsewhere.recv(1)
    await udp.close()


# -- what a kernel does rarely, a stand-in does on demand


class UnwillingCalls(SystemCalls):
    """The system's calls, some of which come to nothing: `sends` is what each does, None for all it is asked."""

    def __init__(self, sends: list[int | None], receives: list[int]) -> None:
        super().__init__()
        self._sends, self._receives = sends, receives
        self._errno = 0

    def receive(self, fd: ctypes.c_int, messages: ctypes.c_void_p, count: ctypes.c_uint) -> int:
        if self._receives:
            self._errno = self._receives.pop(0)
            return -1
        return super().receive(fd, messages, count)

    def send(self, fd: ctypes.c_int, messages: ctypes.c_void_p, count: ctypes.c_uint) -> int:
        happens = self._sends.pop(0) if self._sends else None
        if happens is not None and happens < 0:
            self._errno = -happens
            return -1
        return super().send(fd, messages, count if happens is None else ctypes.c_uint(min(count.value, happens)))

    def errno(self) -> int:
        return self._errno


@pytest.mark.parametrize(
    ("sends", "lost"),
    [
        ([], []),
        ([1, 2, 1], []),
        ([-errno.EPERM], [0]),
        ([2, -errno.EINVAL], [2]),
        ([3, -errno.ENETUNREACH, -errno.EHOSTUNREACH], [3, 4]),
        ([4, -errno.EAGAIN], [4, 5]),
        ([-errno.ENOBUFS], [0, 1, 2, 3, 4, 5]),
    ],
)
async def test_what_cannot_be_sent_is_counted_and_the_rest_is_sent(
    server: Responder, sends: list[int | None], lost: list[int]
) -> None:
    def maker(responder_: Responder, listening: socket.socket, source: ReplySource | None) -> Batched:
        return Batched(responder_, listening, source, UnwillingCalls(sends, [errno.ECONNREFUSED, errno.EINTR]))

    udp = await serve_udp(server, "127.0.0.1", 0, exchange=maker)
    for _ in range(3):
        server.udp(question(f"one.{ZONE}"))
    with connected(udp.port) as sock:
        for id_ in range(6):
            sock.send(question(f"one.{ZONE}", id_=id_))
        got = [int.from_bytes((await heard(sock))[:2]) for _ in range(6 - len(lost))]
        await eventually(lambda: udp.dropped == len(lost), "every lost answer is counted")
    assert got == [n for n in range(6) if n not in lost]
    await udp.close()


async def test_after_many_new_questions_the_next_turn_is_a_shorter_one(server: Responder) -> None:
    udp = await serve_udp(server, "127.0.0.1", 0, exchange=batched)
    server.work = DearWork(FakeClock())  # on a busy machine, the budget would end first
    with connected(udp.port) as sock:
        for number in range(4 * BATCH):
            sock.send(question(f"x{number}.{ZONE}"))
        seen: set[int] = set()
        async with asyncio.timeout(10):
            while (now := answered(server)) < 4 * BATCH:
                seen.add(now)
                await asyncio.sleep(0)
    assert seen >= {BATCH + n * _SMALL_BATCH for n in range(10)}
    await udp.close()


@pytest.mark.parametrize("exchange", ON_THE_LOOP)
async def test_what_waited_for_longer_than_its_asker_does_is_not_answered(
    udp: UdpServer, asker: socket.socket, server: Responder
) -> None:
    """The loop was busy, and the kernel kept what came meanwhile."""
    exchange = udp._exchanges[0][1]
    assert isinstance(exchange, Batched | OneByOne)
    exchange._ages = DatagramAges(udp._exchanges[0][0], wall=Ahead(3.0).now)
    for id_ in range(3 * BATCH):
        asker.send(question(f"one.{ZONE}", id_=id_))
    await eventually(lambda: exchange.too_late >= 2 * BATCH, "they are dropped")
    assert server.hits + server.misses <= 3 * BATCH - exchange.too_late
    exchange._ages = DatagramAges(udp._exchanges[0][0])
    dropped = exchange.too_late
    with connected(udp.port) as other:
        for id_ in range(3 * BATCH):
            other.send(question(f"one.{ZONE}", id_=id_))
        for _ in range(3 * BATCH):
            await heard(other)
    assert (udp.too_late, exchange.too_late) == (dropped, dropped), "a backlog that is young is answered"


class Ahead:
    """A clock that is `seconds` ahead."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> float:
        return time.time() + self._seconds


async def test_a_clock_that_was_set_makes_nothing_too_late() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as listening, socket.socket(type=socket.SOCK_DGRAM) as asker:
        listening.bind(("127.0.0.1", 0))
        ages = {ahead: DatagramAges(listening, wall=Ahead(ahead).now) for ahead in (3.0, 3600.0, -3600.0)}
        assert not ages[3.0].too_late(), "nothing was received"
        asker.sendto(b"?", listening.getsockname())
        listening.recv(1)
        assert {wall: one.too_late() for wall, one in ages.items()} == {3.0: True, 3600.0: False, -3600.0: False}


async def test_an_error_of_the_socket_costs_one_turn_and_an_unsent_answer_is_counted(server: Responder) -> None:
    """One by one: a receive error, port 0, a full send buffer."""
    arrivals: list[tuple[bytes, tuple[str, int]] | OSError] = [
        ConnectionRefusedError(),
        (QUERY, ("127.0.0.1", 0)),
        (QUERY, ("127.0.0.1", 7)),
        (QUERY, ("127.0.0.1", 8)),
        BlockingIOError(),
    ]
    sent: list[int] = []

    class Socket:
        def fileno(self) -> int:
            return -1

        def recvfrom(self, _: int) -> tuple[bytes, tuple[str, int]]:
            arrived = arrivals.pop(0)
            if isinstance(arrived, OSError):
                raise arrived
            return arrived

        def sendmsg(self, _: tuple[bytes], __: Ancillary, ___: int, asker: tuple[str, int]) -> None:
            if asker[1] in (0, 7):
                raise BlockingIOError
            sent.append(asker[1])

    one_by_one = OneByOne(server, Socket(), None)  # type: ignore[arg-type]
    one_by_one.drain()
    assert (arrivals, sent, one_by_one.dropped) == ([], [8], 2)


async def test_a_sandbox_that_forbids_the_calls_is_noticed(monkeypatch: pytest.MonkeyPatch, server: Responder) -> None:
    monkeypatch.setattr(SystemCalls, "send", lambda *_: -1)
    with socket.socket(type=socket.SOCK_DGRAM) as listening:
        assert isinstance(fastest(server, listening, None), OneByOne)


async def test_a_system_without_the_calls_is_served_one_by_one(
    monkeypatch: pytest.MonkeyPatch, server: Responder
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with socket.socket(type=socket.SOCK_DGRAM) as listening:
        assert isinstance(fastest(server, listening, None), OneByOne)
