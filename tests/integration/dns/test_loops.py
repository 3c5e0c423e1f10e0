"""Resolvers that bring our own questions back: a forwarder like Docker's embedded one, and worse ones."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from structlog.testing import capture_logs

from dns.resolver_client import Patience
from tests.foreign import read
from tests.programs import eventually
from tests.resolvers import STEADY, Face, Resolver, face, honest, is_check, resolver, to
from tests.samples import FakeClock
from tests.wire.asking import data, extended_errors, question, rcode

Change = Callable[[bytes], bytes]


class Relay(Resolver):
    """Passes every question on to `port`, changed by `change`, and the answer back, as Docker's resolver does."""

    def __init__(self, change: Change, *, only: Callable[[bytes], bool] = lambda _: True) -> None:
        super().__init__(self._relay)
        self.onward = 0
        self._change = change
        self._only = only
        self._tasks: set[asyncio.Task[None]] = set()

    def _relay(self, query: bytes, _: str) -> list[bytes]:
        if not self._only(query):
            return honest(query)
        task = asyncio.create_task(self._pass_on(query, self.last))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return []

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.last = addr
        super().datagram_received(data, addr)

    async def _pass_on(self, query: bytes, back: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(type=socket.SOCK_DGRAM) as onward:
            onward.setblocking(False)
            onward.connect(("127.0.0.1", self.onward))
            await loop.sock_sendall(onward, self._change(query))
            answer = await loop.sock_recv(onward, 65535)
        assert self._transport is not None
        # Its own id, and the question as it came: so that what comes back is an answer to who asked.
        end = query.index(b"\0", 12) + 5
        self._transport.sendto(query[:2] + answer[2:12] + query[12:end] + answer[end:], back)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().stop()


@contextlib.asynccontextmanager
async def relay(change: Change, *, only: Callable[[bytes], bool] = lambda _: True) -> AsyncIterator[Relay]:
    one = Relay(change, only=only)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


def as_it_is(query: bytes) -> bytes:
    return query


def new_id(query: bytes) -> bytes:
    return bytes((query[0] ^ 0xFF,)) + query[1:]


def lower_case(query: bytes) -> bytes:
    end = query.index(b"\0", 12)
    return query[:12] + query[12:end].lower() + query[end:]


def without_options(query: bytes) -> bytes:
    record = read(query)
    record.ar.clear()
    return bytes(record.pack())


def all_of_it(query: bytes) -> bytes:
    return lower_case(without_options(new_id(query)))


CHANGES = [as_it_is, new_id, lower_case, without_options, all_of_it]


async def asked(one: Face, name: str) -> object:
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        asker.connect(("127.0.0.1", one.port))
        await loop.sock_sendall(asker, question(name, edns=1232))
        async with asyncio.timeout(10):
            return read(await loop.sock_recv(asker, 65535))


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_a_resolver_that_returns_our_queries_is_recognised_and_left_alone(change: Change) -> None:
    with capture_logs() as logs:
        async with relay(change) as loops, resolver() as good, face(to(loops, good)) as ours:
            loops.onward = ours.port
            for n in range(6):
                assert data(await asked(ours, f"n{n}.example")) == ["192.0.2.1"]
            await eventually(lambda: ours.state(loops) == "looping", "it is recognised")
            before = len(loops.asked) + loops.checks
            for n in range(6):
                assert data(await asked(ours, f"m{n}.example")) == ["192.0.2.1"]
            assert len(loops.asked) + loops.checks == before, "it is not asked any more"
            assert before < 10, "nor was there a storm"
    said = [entry for entry in logs if entry["event"] == "forwarding_loop"]
    assert [entry["upstream"] for entry in said] == [f"127.0.0.1:{loops.port}"], "said once"


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_a_loop_without_another_resolver_is_a_quick_failure(change: Change) -> None:
    quick = msgspec.structs.replace(STEADY, patience=Patience(next_s=0.5, total_s=9.0, try_s=6.0))
    async with relay(change) as loops, face(to(loops), limits=quick) as ours:
        loops.onward = ours.port
        for n in range(3):
            assert rcode(await asked(ours, f"n{n}.example")) == "SERVFAIL"
        await eventually(lambda: ours.state(loops) == "looping", "it is recognised")
        assert len(loops.asked) + loops.checks < 10
        answer = await asked(ours, "m.example")
        assert (rcode(answer), extended_errors(answer)) == ("SERVFAIL", [22])


async def test_our_own_address_under_another_name_is_recognised() -> None:
    async with face("none") as first:
        port = first.port
    async with resolver() as good, face(f"127.0.0.1:{port},{to(good)}", port=port) as ours:
        ours.forwarder.listens_on("127.0.0.99", port)
        assert data(await asked(ours, "www.example")) == ["192.0.2.1"]
        await eventually(lambda: ours.forwarder.report().upstreams[0].state == "looping", "it is recognised")


async def test_two_agents_that_forward_to_each_other_notice_the_loop() -> None:
    async with (
        relay(as_it_is) as there,
        face(to(there)) as one,
        face(f"127.0.0.1:{one.port}") as other,
    ):
        there.onward = other.port
        assert rcode(await asked(one, "www.example")) == "SERVFAIL"
        await eventually(lambda: one.state(there) == "looping", "one finds out")
        assert len(there.asked) + there.checks < 10


async def test_looping_names_do_not_cost_other_names_their_resolver() -> None:
    """A resolver that sends one domain back to us, and answers the rest, is no loop but for that domain."""

    def only(query: bytes) -> bool:
        return str(read(query).q.qname).lower().endswith(".back.example.")

    async with relay(as_it_is, only=only) as one, face(to(one)) as ours:
        one.onward = ours.port
        for n in range(5):
            assert rcode(await asked(ours, f"n{n}.back.example")) == "SERVFAIL"
            assert data(await asked(ours, f"n{n}.example")) == ["192.0.2.1"]
        assert ours.state(one) == "up"


async def test_when_the_loop_ends_the_resolver_is_used_again() -> None:
    clock = FakeClock()
    async with relay(as_it_is) as one, face(to(one), clock=clock) as ours:
        one.onward = ours.port
        assert rcode(await asked(ours, "www.example")) == "SERVFAIL"
        await eventually(lambda: ours.state(one) == "looping", "it is recognised")
        await eventually(lambda: not ours.forwarder._asking._tries, "the try has ended")
        one.script = honest
        assert rcode(await asked(ours, "a.example")) == "SERVFAIL"
        assert not any(name.lower() == "a.example." for name in one.names)
        clock.pass_time(30)
        await asked(ours, "b.example")
        await eventually(lambda: ours.state(one) == "up", "the next try does not come back")
        assert data(await asked(ours, "c.example")) == ["192.0.2.1"]


async def test_forged_loop_marks_and_checks_have_no_effect() -> None:
    """Neither can be guessed: eight random octets, and a random name that is asked for once."""
    async with resolver() as one, face(to(one)) as ours:
        assert data(await asked(ours, "0123456789abcdef.loop-check")) == []
        assert ours.state(one) == "up"
        out = await ours.dig("+ednsopt=65313:0011223344556677", "www.example")
        assert "status: NOERROR" in out
        deep = await ours.dig("+ednsopt=65313:" + "0011223344556677" * 8, "two.example")
        assert "status: SERVFAIL" in deep, "a question that has passed eight agents has passed enough"
        assert is_check(one.asked[0]) is False
