from __future__ import annotations

import threading

import pytest

from dns.hop import Hops
from dns.rate_limit import KINDS, RateLimit, RateLimitAction
from dns.remote_limits import RemoteLimits
from tests.samples import FakeClock
from tests.wire.asking import ZONE, question

HOST = "192.0.2.1"
QUERY = question(f"one.{ZONE}")
ANSWER = QUERY[:6] + b"\0\1" + QUERY[8:]


def limits(per_second: int = 2) -> RemoteLimits:
    clock = FakeClock()
    rates = RateLimit(per_second) if per_second else None
    return RemoteLimits(("192.0.2.0/24",), rates, Hops(clock, 1232, recursion=False), clock)


def test_networks_are_judged_alike_for_every_thread() -> None:
    first = limits()
    for one in (first, first.for_a_thread()):
        assert (one.admits(HOST), one.admits("198.51.100.1"), one.is_local(HOST)) == (True, False, False)
    with pytest.raises(ValueError, match="nowhere"):
        RemoteLimits(("nowhere",), None, Hops(FakeClock(), 1232, recursion=False), FakeClock())


def test_threads_share_the_allowance_and_each_has_a_count() -> None:
    first = limits()
    second = first.for_a_thread()
    verdicts = [one.verdict(ANSWER, HOST) for one in (first, second, first, second)]
    assert verdicts == [RateLimitAction.SEND] * 2 + [RateLimitAction.SLIP, RateLimitAction.DROP]
    assert first.limited == 0
    advice = second.instead(QUERY, HOST, RateLimitAction.SLIP)
    assert advice is not None
    assert advice[2] & 2, "come over TCP"
    assert first.instead(QUERY, HOST, RateLimitAction.DROP) is None
    assert (first.limited, second.limited) == (2, 1), "the first counts for all"


def test_octets_are_charged_to_the_network() -> None:
    one = limits()
    assert one.excess(QUERY, HOST) is RateLimitAction.SEND
    one.charge(100_000, HOST)
    assert one.excess(QUERY, HOST) is RateLimitAction.SLIP
    assert one.excess(QUERY, "198.51.100.1") is RateLimitAction.SEND


def test_without_rates_nothing_is_over_a_limit() -> None:
    one = limits(0)
    one.charge(100_000, HOST)
    assert {one.excess(QUERY, HOST), one.verdict(ANSWER, HOST)} == {RateLimitAction.SEND}
    assert one.brief(ANSWER, QUERY, HOST) == ANSWER
    assert not one.proves(QUERY, HOST)


def test_many_threads_together_send_no_more_than_the_limit() -> None:
    first = limits(500)
    sent: list[int] = []

    def ask(mine: RemoteLimits) -> None:
        sent.append(sum(mine.verdict(ANSWER, HOST) is RateLimitAction.SEND for _ in range(2000)))

    threads = [threading.Thread(target=ask, args=(first.for_a_thread(),)) for _ in range(KINDS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(sent) == 500
