"""What is kept of ready answers, and for how long."""

from __future__ import annotations

from dns.answer_cache import AnswerCache, CacheLimits, Entry

ROOMY = CacheLimits(entries=100, bytes=1_000_000)


def entry(label: str, orders: int = 1) -> Entry:
    return Entry(label, orders, [0])


def test_a_change_drops_what_depends_on_it_and_nothing_else() -> None:
    cache = AnswerCache(ROOMY)
    cache.put(b"a", entry("ip-intel"), b"1")
    cache.put(b"b", entry("ip-intel"), b"2")
    cache.put(b"c", entry("billing"), b"3")
    cache.drop(["ip-intel", "nobody"])
    assert list(cache.ready) == [b"c"]


def test_the_oldest_goes_when_there_are_too_many() -> None:
    cache = AnswerCache(CacheLimits(entries=2, bytes=1_000_000))
    for key in (b"a", b"b", b"c"):
        cache.put(key, entry("x"), b"1")
    assert (list(cache.ready), cache.evictions) == ([b"b", b"c"], 1)


def test_the_oldest_go_when_they_are_too_large() -> None:
    cache = AnswerCache(CacheLimits(entries=100, bytes=3000))
    for key in (b"a", b"b", b"c"):
        cache.put(key, entry("x"), b"1" * 1000)
    assert list(cache.ready) == [b"b", b"c"]
    assert cache.bytes <= 3000


def test_an_answer_that_is_larger_than_the_cache_is_not_kept() -> None:
    cache = AnswerCache(CacheLimits(entries=100, bytes=3000))
    cache.put(b"a", entry("x"), b"1" * 4000)
    assert (len(cache), cache.bytes) == (0, 0)


def test_the_bytes_are_those_of_what_is_kept() -> None:
    cache = AnswerCache(ROOMY)
    one, two = entry("x", orders=2), entry("y")
    cache.put(b"key", one, b"1" * 100)
    first = cache.bytes
    cache.put(b"key", one, b"1" * 50)
    assert cache.bytes == first + 50
    cache.put(b"other", two, b"")
    cache.discard(b"key")
    cache.discard(b"key")
    assert cache.bytes == two.weight
    cache.drop(["y"])
    assert (cache.bytes, len(cache)) == (0, 0)


def test_after_clearing_nothing_is_left_to_drop() -> None:
    cache = AnswerCache(ROOMY)
    cache.put(b"a", entry("x"), b"1")
    cache.clear()
    assert (len(cache), cache.bytes) == (0, 0)
    cache.drop(["x"])
    cache.put(b"a", entry("x"), b"1")
    assert len(cache) == 1
