from __future__ import annotations

from collections.abc import Callable

import pytest

from dns.answer_cache import LIVES, CachedAnswers, CacheLimits, ReadyAnswers
from dns.dear_work import CHEAP_US
from dns.order_renewal import MOST_US, OrderRenewal
from dns.rotation import Orders

KEY = b"a key"


class Maker:
    """Makes the answers to one key, as a responder does, until the service is gone."""

    def __init__(self, answers: ReadyAnswers, orders: int = 3) -> None:
        self.answers, self.orders = answers, orders
        self.made: list[bytes] = []
        self.is_gone = False

    def __call__(self, message: bytes, key: bytes) -> None:
        assert message == b"\0\0" + key
        self.made.append(key)
        if self.is_gone:
            return
        entry = self.answers.get(key)
        if entry is None:
            entry = CachedAnswers("x", Orders((1,) * self.orders), [0], 0.5)
        self.answers.found.put(key, entry, b"%d of %d" % (entry.number, len(self.made)))


@pytest.fixture
def answers() -> ReadyAnswers:
    return ReadyAnswers(CacheLimits())


@pytest.fixture
def maker(answers: ReadyAnswers) -> Maker:
    return Maker(answers)


def costs(each_us: int) -> Callable[[bytes], int]:
    return lambda _: each_us


def filled(answers: ReadyAnswers, maker: Maker, *keys: bytes) -> None:
    for key in keys or (KEY,):
        while answers.take_one(key) is None:
            maker(b"\0\0" + key, key)
    maker.made.clear()


def taken(answers: ReadyAnswers, count: int, key: bytes = KEY) -> list[bytes]:
    return [ready.answer for ready in answers.take([key] * count)]


def test_orders_are_drawn_anew_once_half_of_the_answers_are_given(answers: ReadyAnswers, maker: Maker) -> None:
    filled(answers, maker)
    renewal = OrderRenewal(answers)
    before = set(taken(answers, LIVES // 2 - 10))
    renewal.run(costs(1), maker)
    assert maker.made == []
    assert set(taken(answers, 20)) == before
    renewal.run(costs(1), maker)
    assert maker.made == [KEY] * 3
    after = taken(answers, LIVES // 3)
    assert set(after) == {b"0 of 1", b"1 of 2", b"2 of 3"}, "all are ready"
    renewal.run(costs(1), maker)
    assert len(maker.made) == 3


def test_what_was_given_before_is_counted(answers: ReadyAnswers, maker: Maker) -> None:
    filled(answers, maker)
    hits = answers.hits
    taken(answers, LIVES - 100)
    OrderRenewal(answers).run(costs(1), maker)
    taken(answers, 50)
    assert answers.hits - hits == LIVES - 50


@pytest.mark.parametrize("each_us", [CHEAP_US + 1, MOST_US])
def test_what_is_dear_is_made_when_it_is_asked_for(answers: ReadyAnswers, maker: Maker, each_us: int) -> None:
    filled(answers, maker)
    taken(answers, LIVES - 100)
    OrderRenewal(answers).run(costs(each_us), maker)
    assert maker.made == []


def test_the_work_of_one_call_is_bounded(answers: ReadyAnswers, maker: Maker) -> None:
    keys = [b"%d" % n for n in range(50)]
    filled(answers, maker, *keys)
    for key in keys:
        taken(answers, LIVES - 100, key)
    renewal = OrderRenewal(answers)
    renewal.run(costs(100), maker)
    assert 0 < len(maker.made) * 100 <= MOST_US
    for _ in range(10):
        renewal.run(costs(100), maker)
    assert len(maker.made) == 3 * len(keys), "the others have their turn"


def test_a_service_that_is_gone_or_another_one_is_left(answers: ReadyAnswers, maker: Maker) -> None:
    filled(answers, maker, b"gone", b"fewer")
    for key in (b"gone", b"fewer"):
        taken(answers, LIVES - 100, key)
    maker.orders = 1

    def make(message: bytes, key: bytes) -> None:
        maker.is_gone = key == b"gone"
        maker(message, key)

    OrderRenewal(answers).run(costs(1), make)
    assert maker.made == [b"gone", b"fewer"]
    assert taken(answers, 1, b"gone") == [b""]
    assert taken(answers, 2, b"fewer") == [b"0 of 2"] * 2


def test_a_maker_that_makes_no_progress_ends(answers: ReadyAnswers, maker: Maker) -> None:
    filled(answers, maker)
    taken(answers, LIVES - 100)
    calls = 0

    def make(message: bytes, key: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            maker(message, key)

    OrderRenewal(answers).run(costs(1), make)
    assert calls == 2
