"""Attacks on the DNS face: a program asks for what is dear, or what never comes, and its neighbours are answered."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable

import msgspec

from dns.dear_work import LIGHT
from dns.forwarding import ForwardLimits
from dns.resolver_client import Patience
from tests.foreign import name_in, read
from tests.integration.dns.test_forwarding import asked, asked_over_tcp
from tests.programs import eventually
from tests.resolvers import STEADY, Face, face, honest, resolver, to
from tests.samples import FakeClock, instance
from tests.views import StandingView
from tests.wire.asking import ZONE, data, question, rcode

OURS = f"ip-intel.{ZONE}"
# Names below slow.example take this long to fail, and the rest of the test takes less.
SLOW = msgspec.structs.replace(STEADY, patience=Patience(next_s=20.0, total_s=30.0), jostle_s=0.05)
RECORDS = 2900


@contextlib.asynccontextmanager
async def flooding(one: Face, queries: Iterable[bytes], sockets: int = 16) -> AsyncIterator[list[socket.socket]]:
    """Send datagrams, and read no answers."""
    with contextlib.ExitStack() as stack:
        senders = [stack.enter_context(socket.socket(type=socket.SOCK_DGRAM)) for _ in range(sockets)]
        for sender in senders:
            sender.setblocking(False)
            sender.connect(("127.0.0.1", one.port))
        for number, query in enumerate(queries):
            senders[number % sockets].send(query)
            if number % 64 == 0:
                await asyncio.sleep(0)
        yield senders


def slow_ones(query: bytes, transport: str) -> Iterable[bytes]:
    """Answer all names but those below slow.example and any slow domain."""
    return [] if ".slow" in name_in(query).lower() else honest(query, transport)


def large_ones(query: bytes, transport: str) -> Iterable[bytes]:
    """Answer names below big.example with 46 KB that may not be kept, which only TCP takes."""
    if ".big." not in name_in(query).lower():
        return honest(query, transport)
    end = query.index(0, 12) + 5
    if transport == "udp":
        return [query[:2] + struct.pack("!5H", 0x8380, 1, 0, 0, 0) + query[12:end]]
    records = b"".join(b"\xc0\x0c" + struct.pack("!HHIHI", 1, 1, 0, 4, 0x0A000000 + n) for n in range(RECORDS))
    return [query[:2] + struct.pack("!5H", 0x8180, 1, RECORDS, 0, 0) + query[12:end] + records]


async def check_slow(name_of: Callable[[int], str], limits: ForwardLimits = SLOW) -> None:
    """Fill every place with names that get no answer, and more; then other names are asked for."""
    async with resolver(slow_ones) as one, face(to(one), limits=limits) as ours:
        places = limits.in_flight
        names = [question(name_of(n)) for n in range(places)]
        async with flooding(ours, names):
            await eventually(lambda: ours.forwarder.report().in_flight == places, "they take all places")
            await asyncio.sleep(limits.jostle_s)
            for n in range(20):
                assert data(read(await asked(ours, question(f"www.n{n}.org")))) == ["192.0.2.1"]
        assert ours.forwarder.counts["answered"] == 20
        assert ours.forwarder.report().in_flight <= places
        assert ours.state(one) == "up"


async def test_slow_names_of_one_domain_block_no_others() -> None:
    await check_slow(lambda n: f"x{n}.slow.example")


async def test_slow_names_of_many_domains_block_no_others() -> None:
    await check_slow(lambda n: f"x.slow{n}.example{n}")


async def test_one_slow_name_that_many_wait_for_blocks_no_others() -> None:
    limits = msgspec.structs.replace(SLOW, waiting=50, waiting_for_one=100)
    async with resolver(slow_ones) as one, face(to(one), limits=limits) as ours:
        names = [question("x.slow.example", id_=n) for n in range(500)]
        async with flooding(ours, names):
            await eventually(lambda: ours.forwarder._flights.waiting == 50, "they wait")
            for n in range(5):
                assert data(read(await asked(ours, question(f"www.n{n}.org")))) == ["192.0.2.1"]


async def test_a_resolver_that_answers_other_names_is_not_taken_for_a_failing_one() -> None:
    limits = msgspec.structs.replace(STEADY, patience=Patience(next_s=0.1, total_s=0.5))
    async with resolver(slow_ones) as one, face(to(one), limits=limits) as ours:
        slow = [asyncio.create_task(asked(ours, question(f"x{n}.slow.example"))) for n in range(5)]
        await eventually(lambda: len(one.asked) >= 5, "they are asked")
        assert data(read(await asked(ours, question("www.example")))) == ["192.0.2.1"]
        assert {rcode(read(answer)) for answer in await asyncio.gather(*slow)} == {"SERVFAIL"}
        assert ours.state(one) == "up"


async def test_large_foreign_answers_are_read_in_fair_turns_and_delay_nothing() -> None:
    view = StandingView([instance(host="10.0.0.1")])
    async with resolver(large_ones) as one, face(to(one), view=view) as ours:
        names = [question(f"x{n}.big.example", edns=1232) for n in range(100)]
        async with flooding(ours, names):
            await eventually(lambda: one.over_tcp > 0, "they are asked for")
            for n in range(10):
                assert data(read(await asked(ours, question(OURS)))) == ["10.0.0.1"]
                assert data(read(await asked(ours, question(f"www.n{n}.org")))) == ["192.0.2.1"]
            done = ours.forwarder.counts["answered"] - 10
            assert done < len(names), "all this before the large ones were read"


async def test_a_large_foreign_answer_is_whole_over_tcp() -> None:
    async with resolver(large_ones) as one, face(to(one)) as ours:
        answer = (await asked_over_tcp(ours, question("x.big.example")))[0]
        assert answer[6:8] == RECORDS.to_bytes(2)


async def test_random_names_of_the_zone_leave_ready_answers_their_time() -> None:
    """More questions than there is time for, on a clock that stands: what is ready is answered all the same."""
    view, clock = StandingView([instance(host="10.0.0.1")]), FakeClock()
    async with face("none", view=view, clock=clock) as ours:
        assert data(read(await asked(ours, question(OURS)))) == ["10.0.0.1"]
        work = ours.responder.work
        async with flooding(ours, (question(f"x{n}.{ZONE}") for n in range(3000))):
            await eventually(lambda: work.shed > 0, "there is too much to do")
            assert data(read(await asked(ours, question(OURS)))) == ["10.0.0.1"]
            assert 0 < work.waiting <= LIGHT.waiting
            neighbour = asyncio.create_task(asked(ours, question(f"other.{ZONE}")))
            while not neighbour.done():
                clock.pass_time(0.01)
                await asyncio.sleep(0.001)
            assert rcode(read(await neighbour)) == "NXDOMAIN", "a neighbour has its turn"
