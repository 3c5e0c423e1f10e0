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


class Allowance(NamedTuple):
    """What a limit says to one request. `retry_after_s` is 0 for one that is let through."""

    policy: str
    limit: RequestRate
    admitted: bool
    remaining: int
    retry_after_s: float
    reset_s: float  # until all of the limit is free again

    @property
    def headers(self) -> dict[str, str]:
        """The headers of draft-ietf-httpapi-ratelimit-headers-10; `t` is when a refused request may come again."""
        left_s = self.reset_s if self.admitted else self.retry_after_s
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.limit.amount};w={self.limit.window_s}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={math.ceil(left_s)}',
        }


class RateLimiter:
    """One limit, for many keys. `now` is in seconds of a monotonic clock."""

    def __init__(self, policy: str, limit: RequestRate, *, most_keys: int = MAX_KEYS) -> None:
        """`policy` names the limit in headers, metrics and messages."""
        self.policy = policy
        self.limit = limit
        self._rates = {1: _rates(limit)}
        self._states: LRUCache[str, _State] = LRUCache(most_keys)

    def __len__(self) -> int:
        """The number of keys that are remembered."""
        return len(self._states)

    def take(self, key: str, now: float, *, weight: int = 1, times: int = 1) -> Allowance:
        """Let a request of `key` through if the limit has room for it; with `times`, the limit is that much larger."""
        rates = self._rates.get(times)
        if rates is None:
            rates = self._rates[times] = _rates(RequestRate(self.limit.amount * times, self.limit.window_s))
        now_ms = int(now * 1000)
        state = self._states.get(key, _FRESH)
        state, decision = _GCRA.step(rates, state, now_ms, weight)
        if decision.failing_rate is None:
            self._states[key] = state
        wait_ms = decision.retry_after_ms
        return Allowance(
            self.policy,
            self.limit,
            decision.failing_rate is None,
            max(0, rates[0].burst - _GCRA.consumed(rates, state, now_ms)),
            (wait_ms if wait_ms is not None else self.limit.window_s * 1000) / 1000,
            max(0.0, state[0] / 1_000_000 - now),
        )

    def has_room(self, key: str, now: float) -> bool:
        """Return whether the next request of `key` would be let through."""
        state = self._states.get(key)
        return state is None or _GCRA.step(self._rates[1], state, int(now * 1000), 1)[1].failing_rate is None

    def give_back(self, key: str, now: float, *, times: int = 1) -> None:
        """Take a request back that turned out not to count."""
        state = self._states.get(key)
        rates = self._rates.get(times)
        if state is not None and rates is not None:
            self._states[key], _ = _GCRA.step(rates, state, int(now * 1000), -1)


def _rates(limit: RequestRate) -> list[Rate]:
    return [Rate(limit.amount, limit.window_s * 1000)]
