"""What one check knows of an instance at one address: its verdict, its damping and its last outcome. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from agent.checks.flapping import Damper, after_verdict
from agent.checks.result import CheckOutcome, CheckResult, NotChecked
from agent.checks.spec import CheckPace
from agent.checks.verdict import UNKNOWN, CheckVerdict, after_result
from registry_core.domain.records import Status

# In place of an address: for checks that connect to none, and while none is known.
EVERYWHERE: Final = ""


class CheckState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one address by one check."""

    status: Status | None = None  # the effective status: the verdict, or critical while held for flapping
    verdict: CheckVerdict = UNKNOWN
    damper: Damper = Damper()
    last: CheckOutcome | None = None
    flaps: int = 0  # times that a hold began

    def held_s(self, now: float) -> float:
        """Return how much longer it is held critical for flapping. Seconds."""
        return max(0.0, self.damper.held_until - now)

    def because(self, now: float) -> str:
        """Return why it is not passing, in a few words; empty if it is."""
        if held_s := self.held_s(now):
            return f"flapping: held critical for another {held_s:.0f} s"
        return described(self.last) if self.last is not None else "no result yet"

    @property
    def shown_last(self) -> str:
        """The last outcome, for `GET /self`."""
        match self.last:
            case None:
                return "none yet"
            case CheckResult(status=status, because=""):
                return status.value
            case outcome:
                return described(outcome)


NEW: Final = CheckState()


def after_outcome(state: CheckState, outcome: CheckOutcome, now: float, pace: CheckPace) -> CheckState:
    """Return `state` after one more outcome at `now` (seconds, monotonic)."""
    if isinstance(outcome, NotChecked):
        return msgspec.structs.replace(state, last=outcome)  # the verdict stays: nothing is known against it
    before = state.verdict
    verdict = after_result(before, outcome.status, rise=pace.rise, fall=pace.fall)
    damper = after_verdict(state.damper, before.status, verdict.status, now, pace.flaps)
    began = damper.holds(now) and not state.damper.holds(now)
    state = CheckState(
        status=state.status, verdict=verdict, damper=damper, last=outcome, flaps=state.flaps + (1 if began else 0)
    )
    return settled(state, now)


def settled(state: CheckState, now: float) -> CheckState:
    """Return `state` with the status that holds at `now`: a hold may have ended."""
    status = Status.CRITICAL if state.damper.holds(now) else state.verdict.status
    return state if status is None else msgspec.structs.replace(state, status=status)


def described(outcome: CheckOutcome) -> str:
    """Return why a check is not passing, in a few words; empty if it is."""
    return f"not checked: {outcome.because}" if isinstance(outcome, NotChecked) else outcome.because
