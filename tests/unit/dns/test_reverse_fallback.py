"""The resolvers' reverse name comes first, if it comes in time; ours is there in any case."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

import pytest

from dns import codec
from dns.codec import Answer, Query, Rcode, Record, Type
from dns.forwarding import ForeignAnswer
from dns.reverse_fallback import PATIENCE_S, ReverseFallback
from tests.virtual_time import in_virtual_time
from tests.wire.asking import question

MESSAGE = question("1.0.0.10.in-addr.arpa", "PTR")


def written(rcode: Rcode, *names: bytes) -> Answer:
    records = tuple(Record(None, Type.PTR, 60, bytes([len(name)]) + name + b"\0") for name in names)
    return Answer(rcode, authoritative=False, answers=records)


OURS, NAMED = written(Rcode.NOERROR, b"ours"), written(Rcode.NOERROR, b"host")


def asked() -> Query:
    query = codec.read(MESSAGE)
    assert isinstance(query, Query)
    return query


class Slow:
    """Resolvers that answer later, or never."""

    def __init__(self, settle: Callable[[asyncio.Future[ForeignAnswer]], object], after_s: float) -> None:
        self.settle, self.after_s = settle, after_s

    def answer(self, query: Query, message: bytes, asker: Hashable = None) -> asyncio.Future[ForeignAnswer]:
        assert (query, message, asker) == (asked(), MESSAGE, None)
        loop = asyncio.get_running_loop()
        later: asyncio.Future[ForeignAnswer] = loop.create_future()
        loop.call_later(self.after_s, self.settle, later)
        return later


def answered(forwarder: Slow, own: Answer | None = OURS) -> tuple[ForeignAnswer, float]:
    async def ask() -> ForeignAnswer:
        answer = ReverseFallback(forwarder, lambda _: own).answer(asked(), MESSAGE)
        assert isinstance(answer, asyncio.Future)
        return await answer

    return in_virtual_time(ask())


def test_a_name_that_comes_in_time_is_the_answer() -> None:
    assert answered(Slow(lambda later: later.set_result(NAMED), 0.5)) == (NAMED, 0.5)


@pytest.mark.parametrize("rcode", [Rcode.NOERROR, Rcode.NXDOMAIN, Rcode.SERVFAIL])
def test_ours_is_the_answer_as_soon_as_there_is_no_other(rcode: Rcode) -> None:
    assert answered(Slow(lambda later: later.set_result(written(rcode)), 0.25)) == (OURS, 0.25)


def test_resolvers_that_give_up_leave_it_to_us() -> None:
    assert answered(Slow(lambda later: later.cancel(), 0.25)) == (OURS, 0.25)


def test_silent_resolvers_are_waited_for_briefly_and_too_late_is_too_late() -> None:
    assert answered(Slow(lambda later: later.set_result(NAMED), 5)) == (OURS, PATIENCE_S)


def test_a_name_that_is_not_ours_is_waited_for_as_any_other() -> None:
    assert answered(Slow(lambda later: later.set_result(NAMED), 5), own=None) == (NAMED, 5)
