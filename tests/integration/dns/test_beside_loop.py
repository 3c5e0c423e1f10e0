"""Datagrams that are answered in a thread: what the loop does delays no ready answer, and both sides agree."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import AsyncIterator
from typing import Final

import pytest

from dns import beside_loop
from dns.answer_cache import LIVES
from dns.beside_loop import BesideLoop
from dns.handed_over import MOST_WAITING
from dns.mmsg import SystemCalls
from dns.udp import serve_udp
from registry_core.blocking import NoThread, Threads
from tests.integration.dns.test_udp import Asked, answered, connected, heard
from tests.integration.dns_servers import address_in_the_network, beside
from tests.programs import eventually, free_port
from tests.samples import FakeClock, instance
from tests.views import StandingView
from tests.wire.asking import ZONE, data, parsed, question, responder

NAMES: Final = ("one", "two", "three")
PER_S: Final = 500
SECONDS: Final = 4.0
BLOCKED_S: Final = 0.2
# The bound on the 99th percentile.
LATE_MS: Final = 5.0


@pytest.fixture
def view() -> StandingView:
    return StandingView(
        instance(name, f"10.0.{count}.{number}") for count, name in enumerate(NAMES, 1) for number in range(count)
    )


@contextlib.asynccontextmanager
async def asking(port: int, *names: str) -> AsyncIterator[asyncio.Future[list[float | None]]]:
    """Have another process ask steadily, and yield what it will say of the times."""
    argv = ("-m", "tests.steady_queries", str(port), str(PER_S), str(SECONDS), *names)
    process = await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=asyncio.subprocess.PIPE)

    async def said() -> list[float | None]:
        out, _ = await process.communicate()
        took: list[float | None] = json.loads(out)
        return took

    saying = asyncio.ensure_future(said())
    try:
        yield saying
    finally:
        if process.returncode is None:
            process.kill()
        await asyncio.wait((saying,))


def blocked() -> float:
    """Hold the loop, and the interpreter's lock, for BLOCKED_S; return for how long others had the processor."""
    taken_s, last = 0.0, time.perf_counter()
    ends = last + BLOCKED_S
    while last < ends:
        sum(range(100))
        now = time.perf_counter()
        if now - last > LATE_MS / 2000:
            taken_s += now - last
        last = now
    return taken_s


def late(took: list[float | None]) -> int:
    """Return how many answers came after LATE_MS, or not at all."""
    return sum(one is None or one > LATE_MS for one in took)


async def test_a_loop_that_is_blocked_delays_no_ready_answer(view: StandingView) -> None:
    """It is held for 200 ms at a time. A bare echo that is asked meanwhile shows what the machine itself delays."""
    taken_s = 0.0
    server = responder(view)
    udp = await serve_udp(server, "127.0.0.1", 0, exchange=beside)
    names = tuple(f"{name}.{ZONE}" for name in NAMES)
    for name in names:
        for _ in range(20):
            server.udp(question(name))
    before, made, port = answered(server), server.misses, free_port()
    echo = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.blocking_echo", str(port))
    try:
        async with asking(udp.port, *names) as ours, asking(port, *names) as theirs:
            while not (ours.done() and theirs.done()):
                taken_s += blocked()
                server.tick()
                await asyncio.sleep(0.002)
            by_the_machine = late(theirs.result()) + PER_S * taken_s
            assert late(ours.result()) <= PER_S * SECONDS / 100 + by_the_machine
            assert None not in ours.result()
    finally:
        echo.kill()
        await echo.wait()
    await eventually(lambda: answered(server) == before + PER_S * SECONDS, "each is counted")
    assert (udp.received, server.misses) == (PER_S * SECONDS, made)
    await udp.close()


async def test_new_orders_are_drawn_before_the_old_ones_are_used_up(view: StandingView) -> None:
    server = responder(view)
    udp = await serve_udp(server, "127.0.0.1", 0, exchange=beside)
    firsts = []
    with connected(udp.port) as asker:
        for number in range(2 * LIVES):
            if number % (LIVES // 4) == 0:
                server.tick()
            asker.send(question(f"three.{ZONE}", id_=number))
            firsts.append(str(parsed(await heard(asker)).rr[0].rdata))
    assert all(abs(firsts.count(f"10.0.3.{n}") - 2 * LIVES / 3) < LIVES / 50 for n in range(3))
    await eventually(lambda: answered(server) == 2 * LIVES, "what is made for the cache alone is not counted")
    assert server.misses == 6
    assert server.hits == 2 * LIVES - server.misses
    await udp.close()


async def test_what_is_counted_is_what_was_answered_by_either_thread(view: StandingView) -> None:
    """Ready answers, new ones, unusual spellings, names that do not exist, and changes, all at the same time."""
    server = responder(view)
    udp = await serve_udp(server, "127.0.0.1", 0, exchange=beside)
    sent = 0
    with connected(udp.port) as asker, connected(udp.port) as other:
        for turn in range(100):
            asked = (f"one.{ZONE}", f"Two.{ZONE}", f"three.{ZONE}", f"x{turn}.{ZONE}")
            for sock in (asker, other):
                for id_, name in enumerate(asked):
                    sock.send(question(name, id_=id_))
            view.put(instance("one", "10.0.1.0", weight=1 + turn % 2))
            for sock in (asker, other):
                got = {answer.header.id: answer for answer in [parsed(await heard(sock)) for _ in asked]}
                assert [str(got[id_].q.qname) for id_ in range(4)] == [f"{name}." for name in asked]
                assert [len(got[id_].rr) for id_ in range(4)] == [1, 2, 3, 0]
            sent += 2 * len(asked)
    await eventually(lambda: answered(server) == sent, "each is counted once")
    assert (udp.received, udp.dropped, server.limited) == (sent, 0, 0)
    server.counts.fold()
    assert server.counts.ages.count == sent
    await udp.close()


async def test_other_machines_have_one_allowance_by_either_thread(view: StandingView) -> None:
    """Ready answers come from the thread, new ones from the loop, and both take from the same."""
    host = address_in_the_network()
    server = responder(view, clock=FakeClock(), allow_networks=("127.0.0.0/8", f"{host}/32"), rate_limit=10)
    udp = await serve_udp(server, "0.0.0.0", 0, exchange=beside)
    server.udp(question(f"one.{ZONE}"))
    with connected(udp.port, host) as elsewhere:
        for id_ in range(5):
            elsewhere.send(question(f"one.{ZONE}", id_=id_))
            assert not parsed(await heard(elsewhere)).header.tc
        assert server.misses == 1, "the thread answered"
        for id_ in range(5):  # another spelling of the options: no ready answer
            elsewhere.send(question(f"one.{ZONE}", id_=id_, edns=512 + id_))
            assert not parsed(await heard(elsewhere)).header.tc
        assert server.misses == 6, "the loop answered"
        for id_ in range(4):
            elsewhere.send(question(f"one.{ZONE}", id_=id_))
        assert [parsed(await heard(elsewhere)).header.tc for _ in range(2)] == [1, 1]
        await eventually(lambda: server.limited == 4, "and the others got nothing")
        with pytest.raises(BlockingIOError):
            elsewhere.recv(1)
    await udp.close()


async def test_a_flood_of_new_questions_is_bounded_and_ends(view: StandingView) -> None:
    server = responder(view)
    asked = Asked()
    udp = await serve_udp(responder(view, forwarder=asked), "127.0.0.1", 0, exchange=beside)
    exchange = udp._exchanges[0][1]
    assert isinstance(exchange, BesideLoop)
    with connected(udp.port) as asker:
        for number in range(3 * MOST_WAITING):
            with contextlib.suppress(BlockingIOError):
                asker.send(question(f"x{number}.{ZONE}", id_=number))
            assert len(exchange._loop_queue._waiting) <= MOST_WAITING
    await eventually(lambda: not exchange._loop_queue._waiting, "the loop takes them all")
    with connected(udp.port) as asker:
        asker.send(question(f"one.{ZONE}"))
        assert data(parsed(await heard(asker))) == ["10.0.1.0"]
    assert server.failures == 0
    await udp.close()


async def test_a_closed_server_leaves_no_thread_and_frees_its_port(view: StandingView) -> None:
    for _ in range(20):
        udp = await serve_udp(responder(view), "127.0.0.1", 0, exchange=beside)
        exchange, port = udp._exchanges[0][1], udp.port
        assert isinstance(exchange, BesideLoop)
        await udp.close()
        assert exchange._job is not None
        assert exchange._job.done
        with socket.socket(type=socket.SOCK_DGRAM) as again:
            again.bind(("127.0.0.1", port))


async def test_a_failure_that_nobody_thought_of_stops_nothing(
    view: StandingView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside_loop, "_PAUSE_S", 0.001)
    udp = await serve_udp(responder(view), "127.0.0.1", 0, exchange=beside)
    exchange = udp._exchanges[0][1]
    assert isinstance(exchange, BesideLoop)
    works = exchange._answer_all

    def fails(_: object) -> None:
        exchange._answer_all = works  # type: ignore[method-assign]  # so that the next one works
        raise ZeroDivisionError

    exchange._answer_all = fails  # type: ignore[method-assign, assignment]  # a method of this object alone
    with connected(udp.port) as asker:
        asker.send(question(f"one.{ZONE}"))
        await eventually(lambda: exchange._failures == 1, "it is counted")
        asker.send(question(f"one.{ZONE}"))
        assert data(parsed(await heard(asker))) == ["10.0.1.0"]
    await udp.close()


async def test_where_no_thread_can_start_the_loop_answers(view: StandingView, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise NoThread("the system allows no more threads (DNS)")

    monkeypatch.setattr(Threads, "begin", refused)
    server = responder(view)
    udp = await serve_udp(server, "127.0.0.1", 0, exchange=beside)
    with connected(udp.port) as asker:
        for name in (f"one.{ZONE}", f"ONE.{ZONE}", f"one.{ZONE}"):
            asker.send(question(name))
            assert data(parsed(await heard(asker))) == ["10.0.1.0"]
    assert (answered(server), udp.received) == (3, 3)
    await udp.close()


async def test_a_socket_that_fails_at_once_takes_no_whole_processor(
    view: StandingView, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def broken(*_: object) -> object:
        def wait() -> int:
            nonlocal calls
            calls += 1
            return -1

        return wait

    monkeypatch.setattr(SystemCalls, "waiting", broken)
    udp = await serve_udp(responder(view), "127.0.0.1", 0, exchange=beside)
    before = time.thread_time()
    await asyncio.sleep(0.2)
    assert calls < 32 * 0.2 / 0.01 * 2, "it pauses after every 32"
    assert time.thread_time() - before < 0.2
    await udp.close()
