"""What rows of results say of a service, and when it is held because it comes and goes."""

from __future__ import annotations

import pytest

from agent.checks.flapping import Damper, FlapLimits, after_verdict
from agent.checks.verdict import UNKNOWN, CheckVerdict, after_result, worst
from registry_core.domain.records import Status

PASSING, WARNING, CRITICAL = Status.PASSING, Status.WARNING, Status.CRITICAL


def statuses(*results: Status, start: CheckVerdict = UNKNOWN, rise: int = 2, fall: int = 2) -> list[Status | None]:
    """Return the verdict after each result."""
    found = []
    for result in results:
        start = after_result(start, result, rise=rise, fall=fall)
        found.append(start.status)
    return found


def test_the_first_result_that_is_not_critical_says_enough() -> None:
    assert statuses(PASSING) == [PASSING]
    assert statuses(WARNING) == [WARNING]
    assert statuses(CRITICAL, PASSING) == [None, PASSING]
    assert statuses(CRITICAL, CRITICAL) == [None, CRITICAL]


def test_it_takes_fall_bad_results_in_a_row_to_become_critical_and_rise_good_ones_to_come_back() -> None:
    row = (CRITICAL, PASSING, CRITICAL, CRITICAL, PASSING, CRITICAL, PASSING, PASSING)
    assert statuses(*row, start=CheckVerdict(PASSING)) == [PASSING] * 3 + [CRITICAL] * 4 + [PASSING]
    assert statuses(*row, start=CheckVerdict(PASSING), fall=1, rise=3) == [CRITICAL] * 8


def test_a_verdict_goes_no_further_than_the_whole_row_agrees_upon() -> None:
    assert statuses(CRITICAL, WARNING, start=CheckVerdict(PASSING)) == [PASSING, WARNING]
    assert statuses(WARNING, CRITICAL, CRITICAL, start=CheckVerdict(PASSING)) == [PASSING, WARNING, WARNING]
    assert statuses(PASSING, WARNING, start=CheckVerdict(CRITICAL)) == [CRITICAL, WARNING]


def test_a_row_that_turns_is_another_row() -> None:
    assert statuses(CRITICAL, PASSING, CRITICAL, PASSING, start=CheckVerdict(WARNING)) == [WARNING] * 4


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ([PASSING, PASSING], PASSING),
        ([PASSING, WARNING], WARNING),
        ([WARNING, CRITICAL, PASSING], CRITICAL),
        ([PASSING, None], None),
        ([None, CRITICAL], CRITICAL),
        ([None], None),
    ],
)
def test_a_service_is_as_well_as_the_worst_of_its_checks(said: list[Status | None], wanted: Status | None) -> None:
    assert worst(said) is wanted


# -- flaps

LIMITS = FlapLimits(changes=3, window_s=60.0, hold_s=30.0)


def flapped(*times: float, limits: FlapLimits = LIMITS) -> Damper:
    """Return the damper of a check that went or came at each of these times."""
    damper, before, after = Damper(), PASSING, CRITICAL
    for now in times:
        damper = after_verdict(damper, before, after, now, limits)
        before, after = after, before
    return damper


def test_more_changes_than_are_allowed_within_the_window_are_held() -> None:
    assert not flapped(0.0, 20.0, 40.0).holds(40.0)
    held = flapped(0.0, 10.0, 20.0, 59.0)
    assert held.holds(59.0)
    assert held.holds(88.9)
    assert not held.holds(89.0)


def test_changes_that_are_long_ago_do_not_count() -> None:
    assert not flapped(0.0, 20.0, 40.0, 60.0, 80.0, 100.0).holds(100.0)


def test_a_hold_ends_when_there_was_quiet() -> None:
    assert flapped(0.0, 1.0, 2.0, 3.0, 30.0).holds(59.9)


def test_after_a_hold_the_changes_are_counted_anew() -> None:
    assert not flapped(0.0, 1.0, 2.0, 3.0, 40.0, 41.0, 42.0).holds(42.0)


def test_a_start_and_a_warning_are_no_flaps() -> None:
    for before, after in (
        (None, CRITICAL),
        (None, PASSING),
        (PASSING, WARNING),
        (WARNING, PASSING),
        (CRITICAL, CRITICAL),
    ):
        assert after_verdict(Damper(), before, after, 1.0, LIMITS) == Damper()


def test_zero_changes_turn_it_off() -> None:
    assert not flapped(*map(float, range(50)), limits=FlapLimits(changes=0)).holds(50.0)


def test_by_default_three_restarts_in_two_minutes_are_borne() -> None:
    assert not flapped(0.0, 10.0, 40.0, 50.0, 80.0, 90.0, limits=FlapLimits()).holds(90.0)
    assert flapped(0.0, 10.0, 40.0, 50.0, 80.0, 90.0, 110.0, limits=FlapLimits()).holds(110.0)
