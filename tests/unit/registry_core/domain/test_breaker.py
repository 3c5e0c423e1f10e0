"""The circuit breaker: when it opens, which trials it allows, and what closes it."""

from __future__ import annotations

import random

from registry_core.domain.breaker import (
    RETRY_WHILE_HALF_OPEN_S,
    TRANSITIONS,
    Admitted,
    Breaker,
    BreakerState,
    BreakerStep,
    BreakerTerms,
    Rejected,
    Seen,
)
from tools.diagrams import breaker_diagram

TERMS = BreakerTerms()
TRY, NO_TRY = 0.0, 0.99  # draws within and beyond the share of trials


def after(breaker: Breaker, now: float, *outcomes: Seen) -> Breaker:
    """Return it after requests that were admitted and had these outcomes, all at `now`."""
    for seen in outcomes:
        admitted = breaker.admission(now, TRY)
        assert isinstance(admitted, Admitted)
        breaker = breaker.recorded(admitted, seen, now)
    return breaker


def opened(at: float = 0.0) -> Breaker:
    breaker = after(Breaker(), at, *[Seen.FAILURE] * 3)
    assert breaker.state is BreakerState.OPEN
    return breaker


def test_the_numbers_are_settings() -> None:
    assert BreakerTerms(failures=3, open_s=30.0, half_open_s=10.0, trial_share=0.1, successes=2) == TERMS


def test_three_failures_in_a_row_open_it_and_two_do_not() -> None:
    assert after(Breaker(), 0.0, Seen.FAILURE, Seen.FAILURE).state is BreakerState.CLOSED
    assert after(Breaker(), 0.0, Seen.FAILURE, Seen.FAILURE, Seen.FAILURE).state is BreakerState.OPEN


def test_a_success_resets_the_count_of_failures() -> None:
    breaker = after(Breaker(), 0.0, Seen.FAILURE, Seen.FAILURE, Seen.SUCCESS, Seen.FAILURE, Seen.FAILURE)
    assert (breaker.state, breaker.failures) == (BreakerState.CLOSED, 2)


def test_an_open_breaker_refuses_and_says_for_how_long() -> None:
    breaker = opened(at=100.0)
    assert breaker.admission(100.0, TRY) == Rejected(30.0)
    assert breaker.admission(129.5, TRY) == Rejected(0.5)


def test_after_thirty_seconds_one_in_ten_tries() -> None:
    breaker = opened()
    assert breaker.at(29.9).state is BreakerState.OPEN
    assert breaker.at(30.0).state is BreakerState.HALF_OPEN
    assert isinstance(breaker.admission(30.0, 0.0999), Admitted)
    assert breaker.admission(30.0, 0.1) == Rejected(RETRY_WHILE_HALF_OPEN_S)
    draws = random.Random(1)
    tries = sum(isinstance(breaker.admission(31.0, draws.random()), Admitted) for _ in range(10_000))
    assert 900 <= tries <= 1100


def test_two_successes_in_a_row_close_it() -> None:
    breaker = after(opened(), 31.0, Seen.SUCCESS)
    assert (breaker.state, breaker.successes) == (BreakerState.HALF_OPEN, 1)
    closed = after(breaker, 32.0, Seen.SUCCESS)
    assert (closed.state, closed.failures, closed.successes) == (BreakerState.CLOSED, 0, 0)


def test_one_failure_while_half_open_opens_it_for_the_full_time() -> None:
    breaker = after(opened(), 31.0, Seen.SUCCESS, Seen.FAILURE)
    assert breaker.admission(31.0, TRY) == Rejected(30.0)
    again = after(breaker, 61.0, Seen.SUCCESS)
    assert again.state is BreakerState.HALF_OPEN, "the success before the failure does not count"


def test_half_open_without_a_verdict_lets_every_request_try() -> None:
    breaker = after(opened(), 31.0, Seen.SUCCESS)
    assert isinstance(breaker.admission(39.9, NO_TRY), Rejected)
    assert breaker.at(40.0).state is BreakerState.HALF_OPEN
    assert isinstance(breaker.admission(40.0, NO_TRY), Admitted)
    assert isinstance(breaker.admission(4000.0, NO_TRY), Admitted)
    assert after(breaker, 41.0, Seen.SUCCESS).state is BreakerState.CLOSED, "earlier successes count"
    assert after(breaker, 41.0, Seen.FAILURE).admission(41.0, TRY) == Rejected(30.0)


def test_a_breaker_idle_for_an_hour_lets_the_next_request_try() -> None:
    assert isinstance(opened().admission(3600.0, NO_TRY), Admitted)


def test_an_outcome_from_before_the_breaker_opened_is_ignored() -> None:
    breaker = Breaker()
    early = breaker.admission(0.0, TRY)
    assert isinstance(early, Admitted)
    breaker = opened(at=1.0)
    for now, state in ((2.0, BreakerState.OPEN), (35.0, BreakerState.HALF_OPEN)):
        for seen in (Seen.SUCCESS, Seen.FAILURE):
            later = breaker.recorded(early, seen, now)
            assert (later.state, later.failures, later.successes) == (state, 0, 0)
    assert breaker.recorded(early, Seen.FAILURE, 2.0).admission(2.0, TRY) == Rejected(29.0), (
        "its open time does not grow"
    )


def test_the_outcome_of_a_trial_is_ignored_once_the_breaker_opened_again() -> None:
    half_open = opened().at(30.0)
    first, second = half_open.admission(30.0, TRY), half_open.admission(30.0, TRY)
    assert isinstance(first, Admitted)
    assert isinstance(second, Admitted)
    reopened = half_open.recorded(first, Seen.FAILURE, 31.0)
    assert reopened.recorded(second, Seen.SUCCESS, 62.0).successes == 0


def test_the_diagram_draws_every_transition_and_no_other() -> None:
    drawn = [line.strip() for line in breaker_diagram(TERMS).splitlines() if "-->" in line]
    assert drawn == [
        "[*] --> closed",
        "closed --> open: 3 failures in a row",
        "open --> half_open: 30 s are over",
        "half_open --> closed: 2 successes in a row",
        "half_open --> open: 1 failure",
        "half_open --> half_open: 10 s are over, and every request goes",
    ]
    assert len(drawn) == len(TRANSITIONS) + 1


def test_every_number_in_the_table_is_one_of_the_terms() -> None:
    named = {step.in_a_row for step in TRANSITIONS.values()} - {BreakerStep(BreakerState.OPEN).in_a_row}
    assert named == {"failures", "successes"}
    assert all(getattr(TERMS, name) > 0 for name in named)
