"""Rate limits: what they let through, what they say, and how much they remember."""

from __future__ import annotations

import tracemalloc

import pytest

from registry_core.api.limit_settings import RequestRate
from registry_core.api.limits import MAX_KEYS, RateLimiter

START = 5000.0


def admitted(limiter: RateLimiter, key: str, count: int, now: float) -> int:
    return sum(limiter.take(key, now).admitted for _ in range(count))


def test_the_whole_limit_may_come_at_once_and_then_flows_evenly() -> None:
    limiter = RateLimiter("register", RequestRate(100, 1))
    assert admitted(limiter, "a", 500, START) == 100
    assert admitted(limiter, "a", 500, START + 0.1) == 10
    assert admitted(limiter, "a", 500, START + 10) == 100, "a pause earns one burst, not several"


@pytest.mark.parametrize("limit", [RequestRate(100, 1), RequestRate(10, 60), RequestRate(7, 60)])
def test_no_flood_gets_more_than_its_burst_and_the_flow(limit: RequestRate) -> None:
    limiter = RateLimiter("x", limit)
    got = sum(limiter.take("a", START + step / 500).admitted for step in range(500 * 2 * limit.window_s))
    assert limit.amount * 3 - 1 <= got <= limit.amount * 3


def test_keys_do_not_share() -> None:
    limiter = RateLimiter("register", RequestRate(5, 60))
    assert admitted(limiter, "a", 50, START) == 5
    assert admitted(limiter, "b", 50, START) == 5


def test_who_waits_as_long_as_told_is_let_through() -> None:
    limiter = RateLimiter("heartbeat", RequestRate(10, 60))
    admitted(limiter, "a", 10, START)
    refused = limiter.take("a", START)
    assert not refused.admitted
    assert refused.retry_after_s == pytest.approx(6)
    assert not limiter.take("a", START + refused.retry_after_s - 0.1).admitted
    assert limiter.take("a", START + refused.retry_after_s).admitted


def test_refused_requests_do_not_prolong_the_wait() -> None:
    limiter = RateLimiter("heartbeat", RequestRate(10, 60))
    admitted(limiter, "a", 100_000, START)
    assert limiter.take("a", START + 6).admitted


def test_what_does_not_count_is_given_back() -> None:
    limiter = RateLimiter("register", RequestRate(5, 60))
    for _ in range(100):
        assert limiter.take("a", START).admitted
        limiter.give_back("a", START)
    limiter.give_back("stranger", START)
    assert admitted(limiter, "a", 50, START) == 5, "giving back earns nothing"


def test_a_limit_can_be_larger_for_a_while() -> None:
    limiter = RateLimiter("register", RequestRate(100, 1))
    assert sum(limiter.take("a", START, times=10).admitted for _ in range(5000)) == 1000
    assert not limiter.take("a", START).admitted
    assert admitted(limiter, "a", 5000, START + 2) == 100


def test_the_headers_are_those_of_the_draft() -> None:
    limiter = RateLimiter("heartbeat", RequestRate(10, 60))
    assert limiter.take("a", START).headers == {
        "RateLimit-Policy": '"heartbeat";q=10;w=60',
        "RateLimit": '"heartbeat";r=9;t=6',
    }
    admitted(limiter, "a", 9, START)
    assert limiter.take("a", START + 0.5).headers["RateLimit"] == '"heartbeat";r=0;t=6'


def test_a_hundred_thousand_addresses_take_no_more_memory_than_the_bound() -> None:
    limiter = RateLimiter("register", RequestRate(100, 1))
    tracemalloc.start()
    try:
        for number in range(MAX_KEYS):
            limiter.take(f"2001:db8:{number:x}::/64", START)
        full, _ = tracemalloc.get_traced_memory()
        for number in range(MAX_KEYS, 100_000):
            limiter.take(f"2001:db8:{number:x}::/64", START)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(limiter) == MAX_KEYS
    assert full < 4 * 1024 * 1024
    assert after < 1.5 * full


def test_a_key_in_use_is_not_pushed_out_by_the_idle_ones() -> None:
    limiter = RateLimiter("register", RequestRate(5, 3600), most_keys=100)
    admitted(limiter, "a", 5, START)
    for number in range(10_000):
        limiter.take(f"b{number}", START)
        assert not limiter.take("a", START).admitted
