"""A breaker's trials are spread evenly, and begin with the first request of a turn."""

from __future__ import annotations

from registry_core.domain.breaker import Admitted, Breaker, BreakerState, BreakerTerms, Seen
from registry_core.domain.trial_draws import TrialDraws

TERMS = BreakerTerms()


def opened() -> Breaker:
    breaker = Breaker()
    for _ in range(TERMS.failures):
        breaker = breaker.recorded(Admitted(breaker.turn), Seen.FAILURE, 0.0)
    return breaker


def test_the_first_requests_of_a_half_open_turn_close_it() -> None:
    for asked_while_open in range(20):
        breaker, draws = opened(), TrialDraws()
        for _ in range(asked_while_open):
            assert not isinstance(breaker.admission(1.0, draws.draw(breaker, 1.0)), Admitted)
        asked = 0
        while breaker.state is not BreakerState.CLOSED:
            asked += 1
            admission = breaker.admission(TERMS.open_s, draws.draw(breaker, TERMS.open_s))
            if isinstance(admission, Admitted):
                breaker = breaker.recorded(admission, Seen.SUCCESS, TERMS.open_s)
        assert asked <= 6


def test_any_hundred_requests_have_the_share_that_the_terms_say() -> None:
    breaker, draws = opened(), TrialDraws()
    tried = [draws.draw(breaker, TERMS.open_s) < TERMS.trial_share for _ in range(1000)]
    assert tried[0]
    assert {sum(tried[start : start + 100]) for start in range(900)} <= {8, 9, 10, 11, 12}


def test_a_closed_breaker_needs_no_draw() -> None:
    draws = TrialDraws()
    assert [draws.draw(Breaker(), 1.0) for _ in range(3)] == [0.0, 0.0, 0.0]
