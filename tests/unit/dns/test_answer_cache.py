"""Which ready answers are kept, and for how long."""

from __future__ import annotations

import ctypes
import struct
import tracemalloc

import pytest

from dns import answer_cache
from dns.answer_cache import (
    LIVES,
    NONE_READY,
    AnswerCache,
    CachedAnswers,
    CacheLimits,
    ReadyAnswers,
    folded,
    respelled,
)
from dns.rotation import ONE_ORDER, Orders

ROOMY = CacheLimits(entries=100, bytes=1_000_000)


def entry(label: str, orders: int = 1) -> CachedAnswers:
    return CachedAnswers(label, Orders((1,) * orders), [0], 0.5)


def test_a_change_drops_dependent_answers_and_no_others() -> None:
    cache = AnswerCache(ROOMY)
    cache.put(b"a", entry("ip-intel"), b"1")
    cache.put(b"b", entry("ip-intel"), b"2")
    cache.put(b"c", entry("billing"), b"3")
    cache.drop(["ip-intel", "nobody"])
    assert list(cache) == [b"c"]


def test_the_oldest_answer_is_evicted_when_there_are_too_many() -> None:
    cache = AnswerCache(CacheLimits(entries=2, bytes=1_000_000))
    for key in (b"a", b"b", b"c"):
        cache.put(key, entry("x"), b"1")
    assert (list(cache), cache.evictions) == ([b"b", b"c"], 1)


def test_the_oldest_answers_are_evicted_when_they_are_too_large() -> None:
    cache = AnswerCache(CacheLimits(entries=100, bytes=4000))
    for key in (b"a", b"b", b"c"):
        cache.put(key, entry("x"), b"1" * 1000)
    assert list(cache) == [b"b", b"c"]
    assert cache.bytes <= 4000


def test_an_answer_larger_than_the_cache_is_not_kept() -> None:
    cache = AnswerCache(CacheLimits(entries=100, bytes=3000))
    cache.put(b"a", entry("x"), b"1" * 4000)
    assert (len(cache), cache.bytes) == (0, 0)


def test_the_bytes_are_those_of_the_kept_answers() -> None:
    cache = AnswerCache(ROOMY)
    one, two = entry("x", orders=2), entry("y")
    cache.put(b"key", one, b"1" * 100)
    first = cache.bytes
    cache.put(b"key", one, b"1" * 50)
    assert first + 50 < cache.bytes == one.weight
    cache.put(b"other", two, b"")
    cache.drop(["x"])
    assert cache.bytes == two.weight
    cache.drop(["y"])
    assert (cache.bytes, len(cache)) == (0, 0)


@pytest.mark.parametrize("orders", [1, 2, 8])
def test_the_counted_bytes_are_the_allocated_ones(orders: int) -> None:
    answers = ready(entries=10_000, bytes=1_000_000_000)
    queries = [b"%06d" % number + bytes(35) for number in range(1000)]
    tracemalloc.start()
    try:
        for query in queries:
            key, one = bytes(bytearray(query)), entry("x", orders)
            while answers.take_one(key) is None:
                answers.found.put(key, one, bytes(200))
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.8 < answers.bytes / taken < 1.25


def test_a_cleared_cache_has_nothing_to_drop() -> None:
    cache = AnswerCache(ROOMY)
    cache.put(b"a", entry("x"), b"1")
    cache.clear()
    assert (len(cache), cache.bytes) == (0, 0)
    cache.drop(["x"])
    cache.put(b"a", entry("x"), b"1")
    assert len(cache) == 1


# -- the ready answers, positive and negative


def ready(**limits: int) -> ReadyAnswers:
    return ReadyAnswers(CacheLimits(**limits))


def given(answers: ReadyAnswers, *keys: bytes) -> list[bytes]:
    return [one.answer for one in answers.take(keys)]


def test_an_answer_is_given_out_after_restocking() -> None:
    answers = ready()
    answers.found.put(b"a", entry("x"), b"1")
    assert answers.take([b"a", b"b"]) == [NONE_READY, NONE_READY], "a flood of unknown keys uses up no stock"
    assert answers.take_one(b"a") is not None
    assert answers.take_one(b"b") is None
    assert given(answers, b"a", b"b", b"a") == [b"1", b"", b"1"]


def test_orders_are_used_in_turn_and_drawn_again_after_many_rounds() -> None:
    answers = ready()
    one = entry("x", orders=2)
    made = [b"0"]
    answers.found.put(b"a", one, b"0")
    assert answers.take_one(b"a") is None
    assert one.number == 1, "the other order comes first"
    answers.found.put(b"a", one, b"1")
    while (answer := answers.take_one(b"a")) is not None:
        made.append(answer.answer)
    made.insert(1, b"1")
    assert len(made) == LIVES
    assert abs(made.count(b"0") - LIVES // 2) <= 2
    assert all(set(made[at : at + 3]) == {b"0", b"1"} for at in range(len(made) - 2)), "never long in a row"
    assert len(answers) == 0


def test_an_order_is_made_when_its_turn_comes_and_not_before() -> None:
    answers = ready()
    one = CachedAnswers("x", Orders((99, 1), number=0), [0], 0.5)
    answers.found.put(b"a", one, b"0")
    before = 0
    while (answer := answers.take_one(b"a")) is not None:
        assert answer.answer == b"0"
        before += 1
    assert (one.number, 10 < before < 150) == (1, True)
    answers.found.put(b"a", one, b"1")
    assert answers.take_one(b"a") is not None


def test_every_answer_given_out_is_counted_even_after_it_was_dropped() -> None:
    answers = ready()
    cells = [0], [0]
    answers.found.put(b"a", CachedAnswers("x", ONE_ORDER, cells[0], 0.5), b"1")
    answers.missing.put(b"b", CachedAnswers("", ONE_ORDER, cells[1], 0.5), b"2")
    for _ in range(3000):
        answers.take_one(b"a")
    answers.take_one(b"b")
    answers.take([b"a", b"b", b"c"])
    assert answers.hits == 3003
    answers.drop(["x", ""])
    assert (answers.hits, cells) == (3003, ([3001], [2]))


def test_answers_in_use_survive_a_flood_of_unused_ones() -> None:
    answers = ready(entries=100)
    answers.found.put(b"hot", entry("x"), b"1")
    for number in range(1000):
        assert answers.take_one(b"hot") is not None
        answers.found.put(b"%d" % number, entry("x"), b"2")
    assert len(answers) == 100


def test_an_answer_out_of_use_is_evicted_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_cache, "_MOST_LET_OFF", 2)
    answers = ready(entries=4)
    for key in (b"a", b"b", b"c", b"d"):
        answers.found.put(key, entry("x"), b"1")
        answers.take_one(key)
    answers.found.put(b"e", entry("x"), b"1")
    assert list(answers.found) == [b"d", b"e", b"a", b"b"], "two were spared, and the third was evicted"
    answers.found.put(b"f", entry("x"), b"1")
    assert list(answers.found) == [b"a", b"b", b"f", b"d"], "one was spared, and the unused one was evicted"


def test_an_answer_is_stored_at_its_place() -> None:
    answers = ready()
    answers.found.put(b"a", entry("x"), b"an answer")
    taken = answers.take_one(b"a")
    assert taken is not None
    assert ctypes.string_at(*struct.unpack("PP", taken.place)) == b"an answer"


# -- spelling

QUERY = b"\1\0\0\1\0\0\0\0\0\1" + b"\x08IP-iNTel\x04ZoNE\0" + b"\0A\0\1" + b"\0\0\x29\x04\xd0\0\0AZ\0\0"


def test_only_the_queried_name_is_folded() -> None:
    plain = folded(QUERY)
    assert plain == QUERY.replace(b"IP-iNTel", b"ip-intel").replace(b"ZoNE", b"zone")
    assert folded(plain) == plain


def test_an_answer_has_the_spelling_of_its_query() -> None:
    plain = folded(QUERY)
    assert respelled(plain + b"ANSWER", QUERY) == QUERY + b"ANSWER"


@pytest.mark.parametrize("key", [b"", b"\0", b"A" * 9, b"A" * 10, b"A" * 400])
def test_an_invalid_query_can_be_folded_too(key: bytes) -> None:
    assert folded(key) == key
