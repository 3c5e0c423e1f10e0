"""Rate limits: so many requests in so much time for each key, within a bounded memory. Pure: time is an argument.

The algorithm is GCRA of the library pyrate-limiter: one number for each key, a burst of the whole limit after a pause,
then an even flow. The library's own stores keep every key for ever, or have a clock of their own; so the numbers are in
an LRU cache here. A key that drops out of it is forgotten, which lets its next requests through.
"""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple

import msgspec
from cachetools import LRUCache
from pyrate_limiter import GCRA, Rate

# Keys of one limit that are remembered, at some 210 bytes each. An address is forgotten after that many others.
MAX_KEYS: Final = 10_000
_TEXT: Final = re.compile(r"(\d{1,6})\s*/\s*(s|sec|second|m|min|minute|h|hour)", re.ASCII)
_WINDOWS_S: Final = {"s": 1, "m": 60, "h": 3600}
_OFF: Final = frozenset({"off", "none", "0"})
_WORDS: Final = {1: "s", 60: "min", 3600: "h"}
# What the library's state is: one theoretical arrival time, in microseconds.
_FRESH: Final = (0,)
_GCRA: Final = GCRA()


class RateLimit(msgspec.Struct, frozen=True):
    """At most `amount` requests in `window_s` seconds."""

    amount: int
    window_s: int

    def __str__(self) -> str:
        return f"{self.amount}/{_WORDS.get(self.window_s, f'{self.window_s} s')}"

    @property
    def per_s(self) -> float:
        """The flow that it lets through."""
        return self.amount / self.window_s


def rate_limit(text: str) -> RateLimit | None:
    """Read `100/s`, `10/min` or `1000/h`; None for `off`. Raises ValueError, with the reason, for other texts."""
    word = text.strip().lower()
    if word in _OFF:
        return None
    match = _TEXT.fullmatch(word)
    if match is None:
        raise ValueError("it is neither a number per s, min or h, nor off")
    if int(match[1]) == 0:
        raise ValueError("a limit of nothing refuses everything; off means no limit")
    return RateLimit(int(match[1]), _WINDOWS_S[match[2][0]])


class Allowance(NamedTuple):
    """What a limit says to one request. `retry_after_s` is 0 for one that is let through."""

    policy: str
    limit: RateLimit
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

    def __init__(self, policy: str, limit: RateLimit, *, most_keys: int = MAX_KEYS) -> None:
        """`policy` names the limit in headers, metrics and messages."""
        self.policy = policy
        self.limit = limit
        self._rates = {1: _rates(limit)}
        self._states: LRUCache[str, tuple[int, ...]] = LRUCache(most_keys)

    def __len__(self) -> int:
        """The number of keys that are remembered."""
        return len(self._states)

    def take(self, key: str, now: float, *, weight: int = 1, times: int = 1) -> Allowance:
        """Let a request of `key` through if the limit has room for it; with `times`, the limit is that much larger."""
        rates = self._rates.get(times)
        if rates is None:
            rates = self._rates[times] = _rates(RateLimit(self.limit.amount * times, self.limit.window_s))
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

    def give_back(self, key: str, now: float, *, times: int = 1) -> None:
        """Take a request back that turned out not to count."""
        state = self._states.get(key)
        rates = self._rates.get(times)
        if state is not None and rates is not None:
            self._states[key], _ = _GCRA.step(rates, state, int(now * 1000), -1)


def _rates(limit: RateLimit) -> list[Rate]:
    return [Rate(limit.amount, limit.window_s * 1000)]
