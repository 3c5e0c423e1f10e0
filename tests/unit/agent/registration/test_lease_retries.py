"""How soon to try again while there is a lease to lose."""

from __future__ import annotations

from agent.registration.decisions import Timings, backoff_s
from agent.registration.lease_retries import URGENT_UNTIL, lease_retry_s

T = Timings()
# What is left of a lease when a heartbeat is due, and what a failure and a breaker take of it.
LEFT_S = 45.0
GONE_S = 5.0 + 30.0


def test_between_the_end_of_a_breakers_pause_and_that_of_the_lease_there_are_several_tries() -> None:
    for draw in (0.0, 0.2, 0.5, 0.999):
        at, failures, tries = 5.0, 0, []
        while at < LEFT_S:
            failures += 1
            at += lease_retry_s(backoff_s(failures, draw, T), failures, T.heartbeat_s)
            tries.append(at)
        assert sum(GONE_S < one < LEFT_S for one in tries) >= 3


def test_no_wait_becomes_longer_and_a_lasting_outage_is_not_met_with_haste() -> None:
    assert lease_retry_s(0.5, 10, T.heartbeat_s) == 0.5
    assert lease_retry_s(60.0, URGENT_UNTIL + 1, T.heartbeat_s) == T.heartbeat_s / 3
