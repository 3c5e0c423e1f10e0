"""Exponential back-off: how long to wait before the next try, given the number of failures in a row.

It draws no random numbers: the caller passes a draw between 0 and 1, so that tests can fix it.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

# Higher powers exceed every `most_s`, and would overflow after a thousand failures.
_MOST_STEPS: Final = 64
_MOST_FACTOR: Final = 1000.0


class Jitter(enum.StrEnum):
    """How much of a wait is random, so that callers that failed together do not retry together."""

    NONE = "none"
    HALF = "half"  # between half the wait and all of it
    FULL = "full"  # between zero and all of it


class Backoff(msgspec.Struct, frozen=True):
    """Waits that grow by `factor` from `first_s` up to `most_s`. Seconds."""

    first_s: float
    most_s: float
    factor: float = 2.0
    jitter: Jitter = Jitter.NONE

    def __post_init__(self) -> None:
        """Raises ValueError when the numbers do not give growing waits."""
        if not (self.first_s >= 0 and self.most_s >= 0 and 1 <= self.factor <= _MOST_FACTOR):
            raise ValueError(f"{self} is not a back-off")

    def wait_s(self, failures: int, draw: float = 1.0) -> float:
        """Return how long to wait after `failures` in a row; 0 after none. `draw` (0 to 1) sets the jitter."""
        if failures < 1:
            return 0.0
        wait_s = min(self.most_s, self.first_s * self.factor ** min(failures - 1, _MOST_STEPS))
        match self.jitter:
            case Jitter.NONE:
                return wait_s
            case Jitter.HALF:
                return wait_s * (0.5 + draw / 2)
            case Jitter.FULL:
                return wait_s * draw
