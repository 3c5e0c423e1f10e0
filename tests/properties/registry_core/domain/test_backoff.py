"""For any numbers, a wait is within its bounds, and more failures never make it shorter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from registry_core.domain.backoff import Backoff, Jitter

SECONDS = st.floats(0.001, 1000.0)
BACKOFFS = st.builds(Backoff, SECONDS, SECONDS, st.floats(1.0, 1000.0), st.sampled_from(Jitter))
DRAWS = st.floats(0.0, 1.0)
LEAST = {Jitter.NONE: 1.0, Jitter.HALF: 0.5, Jitter.FULL: 0.0}


@given(BACKOFFS, st.integers(1, 10**9), DRAWS)
def test_a_wait_is_within_its_bounds(backoff: Backoff, failures: int, draw: float) -> None:
    wait_s = backoff.wait_s(failures, draw)
    assert LEAST[backoff.jitter] * min(backoff.first_s, backoff.most_s) <= wait_s <= backoff.most_s


@given(BACKOFFS, st.integers(0, 100), DRAWS)
def test_one_more_failure_never_shortens_a_wait(backoff: Backoff, failures: int, draw: float) -> None:
    assert backoff.wait_s(failures + 1, draw) >= backoff.wait_s(failures, draw)
