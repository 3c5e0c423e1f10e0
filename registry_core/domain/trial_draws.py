"""Draws for a breaker's trials: evenly spread, so that a share of a tenth is one of each ten requests or so.

With random draws, one half-open turn in seven admits fewer than two of its first 32 requests: the breaker stays
half-open for all of its time although the server is well, and leases end meanwhile.
"""

from __future__ import annotations

from typing import Final

from registry_core.domain.breaker import Breaker, BreakerState

# The fractional parts of the multiples of the golden ratio spread most evenly. The first one is 0: always a trial.
_GOLDEN: Final = 0.6180339887498949


class TrialDraws:
    """The draws of one breaker; those of each turn begin anew."""

    def __init__(self) -> None:
        self._turn = 0
        self._drawn = 0

    def draw(self, breaker: Breaker, now: float) -> float:
        """Return the next number, in [0, 1), for the admission of a request at `now`."""
        if breaker.state is BreakerState.CLOSED:
            return 0.0  # it is not looked at
        turn = breaker.at(now).turn
        if turn != self._turn:
            self._turn, self._drawn = turn, 0
        self._drawn += 1
        return (self._drawn - 1) * _GOLDEN % 1.0
