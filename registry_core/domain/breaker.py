"""The circuit breaker: whether a request may go to a server that has been failing lately.

Pure: a `Breaker` is a value, `now` and the random draw are arguments, and each outcome gives a new
value. It does no I/O, never waits, and does not know what it protects. TRANSITIONS is its whole
behaviour; the diagram in the documentation is drawn from it.

Failures and successes are counted *in a row*: three failures in a year are not an outage. An outcome
counts only in the turn in which its request was admitted: a request sent before the breaker opened says
nothing about the present.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec


class BreakerState(enum.StrEnum):
    """What happens to requests."""

    CLOSED = "closed"  # all pass
    OPEN = "open"  # none passes
    HALF_OPEN = "half_open"  # some pass, as trials


class Seen(enum.StrEnum):
    """What can happen to a breaker."""

    SUCCESS = "success"
    FAILURE = "failure"
    TIME_OVER = "time over"  # the state has lasted its full time


class BreakerTerms(msgspec.Struct, frozen=True):
    """The numbers of a breaker."""

    failures: int = 3
    open_s: float = 30.0
    half_open_s: float = 10.0
    trial_share: float = 0.10
    successes: int = 2

    def lasts_s(self, state: BreakerState) -> float:
        """Return how long a state lasts if nothing else ends it."""
        match state:
            case BreakerState.OPEN:
                return self.open_s
            case BreakerState.HALF_OPEN:
                return self.half_open_s
            case BreakerState.CLOSED:
                return math.inf


class BreakerStep(msgspec.Struct, frozen=True):
    """The next state, and the field of the terms that says how many in a row it takes; without a field, one."""

    to: BreakerState
    in_a_row: str = ""


# Pairs that are missing here change nothing. When half-open times out without a verdict, too few requests
# were tried to reach one: the state stays, and from then on every request is tried.
TRANSITIONS: Final[Mapping[tuple[BreakerState, Seen], BreakerStep]] = {
    (BreakerState.CLOSED, Seen.FAILURE): BreakerStep(BreakerState.OPEN, in_a_row="failures"),
    (BreakerState.OPEN, Seen.TIME_OVER): BreakerStep(BreakerState.HALF_OPEN),
    (BreakerState.HALF_OPEN, Seen.SUCCESS): BreakerStep(BreakerState.CLOSED, in_a_row="successes"),
    (BreakerState.HALF_OPEN, Seen.FAILURE): BreakerStep(BreakerState.OPEN),
    (BreakerState.HALF_OPEN, Seen.TIME_OVER): BreakerStep(BreakerState.HALF_OPEN),
}
# While only some requests are admitted, the very next attempt may be one of them.
RETRY_WHILE_HALF_OPEN_S: Final = 1.0


class Admitted(msgspec.Struct, frozen=True):
    """The request may go. Pass this to `recorded` with its outcome."""

    turn: int


class Rejected(msgspec.Struct, frozen=True):
    """The request may not go; it is worth trying again after `retry_after_s`."""

    retry_after_s: float


BreakerDecision: TypeAlias = Admitted | Rejected


class Breaker(msgspec.Struct, frozen=True):
    """A breaker at one moment. `since` is when its state began or was last entered again."""

    terms: BreakerTerms = BreakerTerms()
    state: BreakerState = BreakerState.CLOSED
    since: float = 0.0
    turn: int = 0  # rises with every change of state
    failures: int = 0  # in a row, while closed
    successes: int = 0  # in a row, while half-open
    everybody: bool = False  # half-open for longer than its time: every request is tried

    def at(self, now: float) -> Breaker:
        """Return the breaker at `now`, if nothing but time has passed."""
        if self.state is BreakerState.CLOSED:
            return self  # it stays closed until something fails
        breaker = self
        # Open becomes half-open, and half-open times out once: two steps at most.
        for _ in range(2):
            if breaker.everybody or now - breaker.since < breaker.terms.lasts_s(breaker.state):
                break
            ended_at = breaker.since + breaker.terms.lasts_s(breaker.state)
            breaker = _after(breaker, Seen.TIME_OVER, ended_at)
        return breaker

    def admission(self, now: float, draw: float) -> BreakerDecision:
        """Return whether a request may go at `now`; `draw` is a random number in [0, 1)."""
        breaker = self.at(now)
        match breaker.state:
            case BreakerState.CLOSED:
                return Admitted(breaker.turn)
            case BreakerState.OPEN:
                return Rejected(max(0.0, breaker.since + breaker.terms.open_s - now))
            case BreakerState.HALF_OPEN:
                if breaker.everybody or draw < breaker.terms.trial_share:
                    return Admitted(breaker.turn)
                return Rejected(RETRY_WHILE_HALF_OPEN_S)

    def recorded(self, admitted: Admitted, seen: Seen, now: float) -> Breaker:
        """Return the breaker after an admitted request succeeded or failed at `now`."""
        if seen is Seen.SUCCESS and self.state is BreakerState.CLOSED and not self.failures:
            return self  # the common case
        breaker = self.at(now)
        return _after(breaker, seen, now) if admitted.turn == breaker.turn else breaker


def _after(breaker: Breaker, seen: Seen, now: float) -> Breaker:
    counted = msgspec.structs.replace(
        breaker,
        failures=breaker.failures + 1 if seen is Seen.FAILURE else 0,
        successes=breaker.successes + (seen is Seen.SUCCESS and breaker.state is BreakerState.HALF_OPEN),
    )
    step = TRANSITIONS.get((breaker.state, seen))
    if step is None:
        return counted
    if step.to is breaker.state:
        return msgspec.structs.replace(counted, since=now, everybody=True)
    if step.in_a_row and getattr(counted, step.in_a_row) < getattr(breaker.terms, step.in_a_row):
        return counted
    return Breaker(breaker.terms, step.to, since=now, turn=breaker.turn + 1)
