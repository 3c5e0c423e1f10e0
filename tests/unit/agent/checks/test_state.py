"""The state of one check at one address."""

from __future__ import annotations

from agent.checks.flapping import FlapLimits
from agent.checks.result import WELL, CheckOutcome, CheckResult, NotChecked, critical
from agent.checks.spec import CheckPace
from agent.checks.state import NEW, CheckState, after_outcome, settled
from registry_core.domain.records import Status

PACE = CheckPace(rise=2, fall=2, flaps=FlapLimits(changes=1, window_s=60.0, hold_s=30.0))
BAD = critical("bad")
WARNS = CheckResult(Status.WARNING, "slow")


def after(*outcomes: CheckOutcome) -> CheckState:
    """Return the state after outcomes at 0, 1, 2 ... seconds."""
    state = NEW
    for now, outcome in enumerate(outcomes):
        state = after_outcome(state, outcome, float(now), PACE)
    return state


def test_it_takes_several_results_in_a_row_to_change_the_status() -> None:
    assert NEW.status is None
    assert after(WELL).status is Status.PASSING
    assert after(WELL, BAD).status is Status.PASSING
    assert after(WELL, BAD, BAD).status is Status.CRITICAL
    assert after(BAD).status is None
    assert after(WELL, WARNS, WARNS).status is Status.WARNING


def test_a_check_that_was_not_made_changes_nothing_but_is_shown() -> None:
    state = after(WELL, NotChecked("Too many open files"))
    assert state.status is Status.PASSING
    assert state.verdict == after(WELL).verdict
    assert state.shown_last == state.because(9.0) == "not checked: Too many open files"


def test_a_flapping_check_is_held_and_the_hold_ends() -> None:
    state = after(WELL, BAD, BAD, WELL, WELL)
    assert (state.status, state.flaps) == (Status.CRITICAL, 1)
    assert state.held_s(4.0) == 30.0
    assert state.because(4.0) == "flapping: held critical for another 30 s"
    assert settled(state, 33.9).status is Status.CRITICAL
    assert settled(state, 34.1).status is Status.PASSING


def test_the_last_outcome_is_shown() -> None:
    assert NEW.shown_last == "none yet"
    assert NEW.because(0.0) == "no result yet"
    assert after(WELL).shown_last == "passing"
    assert after(WELL).because(0.0) == ""
    assert after(WELL, BAD).shown_last == "bad"
