"""How long foreign answers are kept, and which are evicted."""

from __future__ import annotations

import pytest

from dns import codec
from dns.foreign import ForeignReply, inquiry_of, judge, lifetime_s, outgoing
from dns.foreign_cache import ForeignCache, ForeignLimits
from tests.foreign import SOA, reply_to
from tests.wire.asking import question


def replied(name: str, *zone: str, qtype: str = "A", authority: str = "", rcode: int = 0) -> ForeignReply:
    query = codec.read(question(name, qtype))
    assert isinstance(query, codec.Query)
    asked = inquiry_of(query)
    sent = outgoing(asked, 7, asked.question, b"", with_edns=False)
    reply = judge(reply_to(sent.message, *zone, authority=authority, rcode=rcode), sent)
    assert isinstance(reply, ForeignReply)
    return reply


A = codec.Type.A
ONE = replied("www.example", "www.example. 300 IN A 192.0.2.1")
ABSENT = replied("no.example", authority=SOA, rcode=3)


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (ONE, 300),
        (replied("w.example", "w.example. 300 IN A 192.0.2.1", "w.example. 20 IN A 192.0.2.2"), 20),
        (replied("w.example", "w.example. 30 IN CNAME v.example.", "v.example. 300 IN A 192.0.2.2"), 30),
        (ABSENT, 60),
        (replied("no.example", authority=SOA.replace("900", "9"), rcode=3), 9),
        (replied("no.example", authority=SOA), 60),
        (replied("no.example", "no.example. 20 IN CNAME gone.example.", authority=SOA, rcode=3), 20),
        (replied("no.example", "no.example. 900 IN CNAME gone.example.", authority=SOA), 60),
        (replied("no.example", rcode=3), 0),
        (replied("no.example"), 0),
        (replied("no.example", "no.example. 900 IN CNAME gone.example."), 0),
        (replied("w.example", "w.example. 0 IN A 192.0.2.1"), 0),
        (replied("w.example", f"w.example. {2**31} IN A 192.0.2.1"), 0),
    ],
)
def test_an_answer_is_kept_for_its_shortest_ttl_or_that_of_its_soa(reply: ForeignReply, seconds: int) -> None:
    assert lifetime_s(reply, A) == seconds


def test_a_cached_answer_is_fresh_for_its_ttl_and_stale_for_a_day() -> None:
    cache = ForeignCache(ForeignLimits())
    cache.put(b"k", ONE, 300, 1000.0)
    kept = cache.get(b"k", 1299.9)
    assert kept is not None
    assert kept.age_s(1299.9) == 299
    assert cache.stale(b"k", 1299.9) is None, "a fresh answer is not stale"
    assert cache.get(b"k", 1300.0) is None
    assert cache.stale(b"k", 1300.0) is not None
    assert cache.stale(b"k", 1299.9 + 86_400) is not None
    assert cache.stale(b"k", 1300.0 + 86_400) is None
    assert (len(cache), cache.bytes) == (0, 0)


def test_ttls_are_capped_and_negative_ones_lower() -> None:
    cache = ForeignCache(ForeignLimits())
    cache.put(b"k", ONE, 10**6, 0.0)
    cache.put(b"n", ABSENT, 10**6, 0.0)
    assert cache.get(b"k", 3599.0) is not None
    assert cache.get(b"k", 3600.0) is None
    assert cache.get(b"n", 299.0) is not None
    assert cache.get(b"n", 300.0) is None


def test_an_uncacheable_answer_leaves_the_old_one_in_place() -> None:
    cache = ForeignCache(ForeignLimits())
    cache.put(b"k", ONE, 10, 0.0)
    cache.put(b"k", ABSENT, 0, 20.0)
    kept = cache.stale(b"k", 20.0)
    assert kept is not None
    assert kept.reply is ONE


def test_the_bounds_hold_and_the_oldest_answer_is_evicted() -> None:
    cache = ForeignCache(ForeignLimits(entries=3))
    for n in range(5):
        cache.put(b"%d" % n, ONE, 300, float(n))
    cache.put(b"2", ONE, 300, 5.0)
    cache.put(b"5", ONE, 300, 6.0)
    assert [key for key in (b"1", b"2", b"3", b"4", b"5") if cache.get(key, 7.0)] == [b"2", b"4", b"5"]
    assert cache.evictions == 3
    small = ForeignCache(ForeignLimits(bytes=2000))
    for n in range(50):
        small.put(b"%d" % n, ONE, 300, float(n))
        assert small.bytes <= 2000
    assert len(small) == 2
    small.clear()
    assert (len(small), small.bytes) == (0, 0)
