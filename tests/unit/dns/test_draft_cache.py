"""Dear answers kept once: what they depend on, how long they are given out, and what bounds them."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from dns import codec
from dns.codec import HEADER, Query, Rcode
from dns.draft_cache import FRESH_S, DraftCache, DraftLimits, MadeDraft, draft_key
from dns.drafts import Draft
from dns.hop import Hops
from dns.rotation import ONE_ORDER, Orders
from tests.samples import FakeClock
from tests.wire.asking import question
from tests.wire.test_cookies import CLIENT, asked

HOPS = Hops(FakeClock(), 1232, recursion=False)
NAME = "crowd.example"


def key(message: bytes, idle_s: float | None = None) -> bytes:
    query = codec.read(message)
    assert isinstance(query, Query)
    return draft_key(query, HOPS.of(query, "127.0.0.1", idle_s))


def made(number: int = 0, orders: int = 1, label: str = "crowd", size: int = 100) -> MadeDraft:
    several = Orders((1,) * orders, number) if orders > 1 else ONE_ORDER
    return MadeDraft(Draft(bytes(size), 0), Rcode.NOERROR, label, several, found=True)


def test_what_only_the_hop_depends_on_makes_no_difference() -> None:
    plain = key(asked(CLIENT, NAME))
    for other in (asked(bytes(8), NAME), asked(CLIENT + bytes(16), NAME), asked(CLIENT, NAME.upper())):
        assert key(b"\xff\xff" + other[2:]) == plain
    sizes = {key(question(NAME, edns=size)) for size in range(1, 2048, 13)}
    assert len(sizes) <= 8, "sizes are rounded"


@pytest.mark.parametrize(
    "other",
    [
        (question(NAME, "AAAA"), None),
        (question("other.example"), None),
        (question(NAME, edns=1232), None),
        (question(NAME), 10.0),
        (question(NAME)[:2] + b"\0" + question(NAME)[3:], None),
    ],
)
def test_what_the_records_depend_on_does(other: tuple[bytes, float | None]) -> None:
    assert key(*other) != key(question(NAME))


def test_an_answer_has_the_id_and_the_spelling_of_its_question() -> None:
    query = codec.read(question("CrOwd.example", id_=7))
    assert isinstance(query, Query)
    old = question(NAME, id_=9)
    draft = msgspec.structs.replace(made(), draft=Draft(old + b"records", 0)).answering(query)
    assert draft.message == b"\0\7" + old[2:HEADER] + query.question + b"records"


def test_one_order_is_kept_and_several_are_drawn_anew_after_a_moment() -> None:
    cache = DraftCache()
    cache.put(b"one", made(), 1000, now=0.0)
    cache.put(b"several", made(0, 8), 300, now=0.0)
    for _ in range(200):
        number = cache.take(b"several", None, now=0.0)
        if isinstance(number, int):
            cache.put(b"several", made(number, 8), 300, now=0.0)
    found = [cache.take(b"several", None, now=0.1) for _ in range(80)]
    assert {one.orders.number for one in found if isinstance(one, MadeDraft)} == set(range(8))
    assert cache.take(b"several", 3, now=0.1) == made(3, 8)
    assert cache.take(b"several", 3, now=FRESH_S) == 3
    assert cache.take(b"several", None, now=FRESH_S) is None
    assert cache.take(b"one", None, now=9.0) is not None


def test_orders_have_their_turns_by_weight() -> None:
    cache = DraftCache()
    for number in range(3):
        heavy = msgspec.structs.replace(made(number, 3), orders=Orders((98, 1, 1), number))
        cache.put(b"a", heavy, 300, now=0.0)
    found = [cache.take(b"a", None, now=0.0) for _ in range(1000)]
    counts = Counter(one.orders.number for one in found if isinstance(one, MadeDraft))
    assert counts[0] > 950
    assert min(counts.values()) > 2


def test_of_the_dearest_few_orders_are_made() -> None:
    cache = DraftCache()
    for number in range(2):
        cache.put(b"a", made(number, 8), 12_000, now=0.0)
    assert all(isinstance(cache.take(b"a", None, now=0.0), MadeDraft) for _ in range(100))
    assert cache.take(b"a", 5, now=0.0) == 5, "a certain one is"


def test_a_change_drops_what_depends_on_it() -> None:
    cache = DraftCache()
    cache.put(b"a", made(label="a"), 1000, now=0.0)
    cache.put(b"b", made(label="b"), 1000, now=0.0)
    cache.drop(["b", "", "unknown"])
    assert (cache.take(b"a", None, 0.0) is not None, cache.take(b"b", None, 0.0)) == (True, None)
    cache.forget(b"b")
    cache.clear()
    assert (len(cache), cache.bytes) == (0, 0)


def test_entries_and_octets_are_bounded_and_the_least_used_goes_first() -> None:
    cache = DraftCache(DraftLimits(entries=3, bytes=100_000))
    for name in (b"a", b"b", b"c"):
        cache.put(name, made(), 1000, now=0.0)
    assert cache.take(b"a", None, now=0.0) is not None
    cache.put(b"d", made(), 1000, now=0.0)
    assert [cache.take(name, None, 0.0) is not None for name in (b"a", b"b", b"c", b"d")] == [True, False, True, True]
    cache.put(b"large", made(size=98_000), 1000, now=0.0)
    assert (len(cache), cache.bytes <= 100_000) == (1, True)
    cache.put(b"too large", made(size=200_000), 1000, now=0.0)
    assert (len(cache), cache.bytes) == (0, 0)
