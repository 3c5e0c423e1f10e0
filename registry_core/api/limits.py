"""Rate limits: so many requests in so much time for each key, within a bounded memory. Pure: time is an argument.

The algorithm is GCRA of the library pyrate-limiter: one number for each key, a burst of the whole limit after a pause,
then an even flow. The library's own stores keep every key for ever, or have a clock of their own; so the numbers are in
an LRU cache here. A key that drops out of it is forgotten, which lets its next requests through.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple, TypeAlias

from cachetools import LRUCache
from pyrate_limiter import GCRA, Rate

from registry_core.api.limit_settings import RequestRate

# Keys of one limit that are remembered, at some 210 bytes each. An address is forgotten after that many others.
MAX_KEYS: Final = 10_000
_State: TypeAlias = tuple[float, ...]
# What the library's state is: one theoretical arrival time, in microseconds.
_FRESH: Final[_State] = (0.0,)
_GCRA: Final = GCRA()
# Of times that are fractions of a second, when they are counted in requests.
_ROUNDING: Final = 1e-6


class Allowance(NamedTuple):
    """What a limit says to one request. `retry_after_s` is 0 for one that is let through."""

    policy: str
    limit: RequestRate
    admitted: bool
    retry_after_s: float
    reset_s: float  # until all of the limit is free again

    @property
    def remaining(self) -> int:
        """How many more requests would be let through at once."""
        return max(0, self.limit.amount - math.ceil(self.reset_s * self.limit.per_s - _ROUNDING))

    @property
    def is_short(self) -> bool:
        """Whether half of the limit or more is used up."""
        return not self.admitted or 2 * self.reset_s >= self.limit.window_s

    @property
    def headers(self) -> dict[str, str]:
        """The headers of draft-ietf-httpapi-ratelimit-headers-10; `t` is when a refused request may come again."""
        left_s = self.reset_s if self.admitted else self.retry_after_s
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.limit.amount};w={self.limit.window_s}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={math.ceil(left_s)}',
        }


class _LimitStep(NamedTuple):
    """One limit as the library takes it, and what it makes of it: the microseconds of one request, and of all."""

    limit: RequestRate
    rates: list[Rate]
    each_us: int
    whole_us: int


class RateLimiter:
    """One limit, for many keys. `now` is in seconds of a monotonic clock."""

    def __init__(self, policy: str, limit: RequestRate, *, most_keys: int = MAX_KEYS) -> None:
        """`policy` names the limit in headers, metrics and messages."""
        self.policy = policy
        self.limit = limit
        self._by_times: dict[int, _LimitStep] = {1: _step_of(limit)}
        self._states: LRUCache[str, _State] = LRUCache(most_keys)

    def __len__(self) -> int:
        """The number of keys that are remembered."""
        return len(self._states)

    def take(self, key: str, now: float, *, weight: int = 1, times: int = 1) -> Allowance:
        """Let a request of `key` through if the limit has room for it; with `times`, the limit is that much larger."""
        limit, rates, each, whole = self._by_times.get(times) or self._enlarged(times)
        before, now_ms = self._states.get(key, _FRESH), int(now * 1000)
        if weight == 1:
            # What the library does with one rate and a request that it lets through, at a tenth of its time.
            arrival = max(int(before[0]), now_ms * 1000) + each
            if arrival - whole <= now_ms * 1000:
                self._states[key] = (arrival,)
                reset_s = arrival / 1_000_000 - now
                return Allowance(self.policy, limit, True, 0.0, reset_s if reset_s > 0 else 0.0)
        state, decision = _GCRA.step(rates, before, now_ms, weight)
        reset_s = state[0] / 1_000_000 - now
        reset_s = reset_s if reset_s > 0 else 0.0
        if decision.failing_rate is None:
            self._states[key] = state
            return Allowance(self.policy, limit, True, 0.0, reset_s)
        wait_ms = decision.retry_after_ms
        wait_s = limit.window_s if wait_ms is None else wait_ms / 1000
        return Allowance(self.policy, limit, False, wait_s, reset_s)

    def has_room(self, key: str, now: float) -> bool:
        """Return whether the next request of `key` would be let through."""
        state = self._states.get(key)
        return state is None or _GCRA.step(self._by_times[1].rates, state, int(now * 1000), 1)[1].failing_rate is None

    def give_back(self, key: str, now: float, *, times: int = 1) -> None:
        """Take a request back that turned out not to count."""
        state = self._states.get(key)
        if state is not None:
            rates = (self._by_times.get(times) or self._enlarged(times)).rates
            self._states[key], _ = _GCRA.step(rates, state, int(now * 1000), -1)

    def _enlarged(self, times: int) -> _LimitStep:
        limit = RequestRate(self.limit.amount * times, self.limit.window_s)
        self._by_times[times] = _step_of(limit)
        return self._by_times[times]


def _step_of(limit: RequestRate) -> _LimitStep:
    rates = [Rate(limit.amount, limit.window_s * 1000)]
    (each,), _ = _GCRA.step(rates, _FRESH, 0, 1)
    return _LimitStep(limit, rates, int(each), limit.amount * int(each))
