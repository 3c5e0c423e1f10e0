from __future__ import annotations

from registry_core.domain.backoff import Backoff, Jitter
from registry_core.upstreams.retries import watch_retry_s


def test_the_watch_goes_to_the_next_address_at_once_and_waits_after_the_last() -> None:
    assert [watch_retry_s(n, 1.0, 2) for n in range(1, 9)] == [0.1, 0.1, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0]
    assert watch_retry_s(1000, 1.0, 1) == 5.0


def test_a_follower_comes_back_sooner() -> None:
    soon = Backoff(0.5, 2.0, jitter=Jitter.FULL)
    assert [watch_retry_s(n, 1.0, 1, soon) for n in range(1, 6)] == [0.1, 0.5, 1.0, 2.0, 2.0]
