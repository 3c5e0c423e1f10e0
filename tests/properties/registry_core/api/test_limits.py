"""A rate limit decides as the library does whose algorithm it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pyrate_limiter import GCRA, Rate

from registry_core.api.limit_settings import RequestRate
from registry_core.api.limits import RateLimiter

RATES = st.builds(RequestRate, st.integers(1, 2000), st.sampled_from([1, 60, 3600]))
# How long after the one before each request comes, in milliseconds.
PAUSES = st.lists(st.integers(0, 5) | st.integers(0, 100_000), max_size=60)


@given(RATES, PAUSES, st.sampled_from([1, 10]))
def test_each_request_is_let_through_or_refused_as_the_library_says(
    limit: RequestRate, pauses: list[int], times: int
) -> None:
    limiter, library = RateLimiter("x", limit), GCRA()
    rates = [Rate(limit.amount * times, limit.window_s * 1000)]
    state, now_ms = library.initial(rates), 5_000_000
    for pause_ms in pauses:
        now_ms += pause_ms
        state, decision = library.step(rates, state, now_ms, 1)
        allowance = limiter.take("a", now_ms / 1000, times=times)
        assert allowance.admitted is (decision.failing_rate is None)
        assert allowance.reset_s == max(0.0, state[0] / 1_000_000 - now_ms / 1000)
