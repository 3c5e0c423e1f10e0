"""How rows of results become a status, and when a flapping service is held."""

from __future__ import annotations

import pytest

from agent.checks.flapping import Damper, FlapLimits, after_verdict
from agent.checks.verdict import UNKNOWN, CheckVerdict, after_result, best, worst
from registry_core.domain.records import Status

PASSING, WARNING, CRITICAL = Status.PASSING, Status.WARNING, Status.CRITICAL


def statuses(*results: Status, start: CheckVerdict = UNKNOWN, rise: int = 2, fall: int = 2) -> list[Status | None]:
    """Return the verdict after each result."""
    found = []
    for result in results:
        start = after_result(start, result, rise=rise, fall=fall)
        found.append(start.status)
    return found


def test_a_first_result_that_is_not_critical_decides() -> None:
    assert statuses(PASSING) == [PASSING]
    assert statuses(WARNING) == [WARNING]
    assert statuses(CRITICAL, PASSING) == [None, PASSING]
    assert statuses(CRITICAL, CRITICAL) == [None, CRITICAL]


def test_it_takes_fall_bad_results_in_a_row_to_become_critical_and_rise_good_ones_to_come_back() -> None:
    row = (CRITICAL, PASSING, CRITICAL, CRITICAL, PASSING, CRITICAL, PASSING, PASSING)
    assert statuses(*row, start=CheckVerdict(PASSING)) == [PASSING] * 3 + [CRITICAL] * 4 + [PASSING]
    assert statuses(*row, start=CheckVerdict(PASSING), fall=1, rise=3) == [CRITICAL] * 8


def test_a_verdict_changes_only_as_far_as_the_whole_row_agrees() -> None:
    assert statuses(CRITICAL, WARNING, start=CheckVerdict(PASSING)) == [PASSING, WARNING]
    assert statuses(WARNING, CRITICAL, CRITICAL, start=CheckVerdict(PASSING)) == [PASSING, WARNING, WARNING]
    assert statuses(PASSING, WARNING, start=CheckVerdict(CRITICAL)) == [CRITICAL, WARNING]


def test_a_row_starts_again_when_its_direction_changes() -> None:
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
def test_a_service_has_the_status_of_its_worst_check(said: list[Status | None], wanted: Status | None) -> None:
    assert worst(said) is wanted


# -- flaps

LIMITS = FlapLimits(changes=3, window_s=60.0, hold_s=30.0)


def flapped(*times: float, limits: FlapLimits = LIMITS) -> Damper:
    """Return the damper of a check that changed at each of these times."""
    damper, before, after = Damper(), PASSING, CRITICAL
    for now in times:
        damper = after_verdict(damper, before, after, now, limits)
        before, after = after, before
    return damper


def test_too_many_changes_within_the_window_are_held() -> None:
    assert not flapped(0.0, 20.0, 40.0).holds(40.0)
    held = flapped(0.0, 10.0, 20.0, 59.0)
    assert held.holds(59.0)
    assert held.holds(88.9)
    assert not held.holds(89.0)


def test_old_changes_do_not_count() -> None:
    assert not flapped(0.0, 20.0, 40.0, 60.0, 80.0, 100.0).holds(100.0)


def test_a_hold_ends_after_a_quiet_time() -> None:
    assert flapped(0.0, 1.0, 2.0, 3.0, 30.0).holds(59.9)


def test_changes_are_counted_from_zero_after_a_hold() -> None:
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


def test_by_default_three_restarts_in_two_minutes_are_tolerated() -> None:
    assert not flapped(0.0, 10.0, 40.0, 50.0, 80.0, 90.0, limits=FlapLimits()).holds(90.0)
    assert flapped(0.0, 10.0, 40.0, 50.0, 80.0, 90.0, 110.0, limits=FlapLimits()).holds(110.0)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ([], None),
        ([None], None),
        ([Status.CRITICAL, None], None),
        ([Status.CRITICAL, Status.CRITICAL], Status.CRITICAL),
        ([Status.CRITICAL, Status.PASSING, None], Status.PASSING),
        ([Status.CRITICAL, Status.WARNING, None], Status.WARNING),
    ],
)
def test_a_service_has_the_status_of_its_best_address(said: list[Status | None], wanted: Status | None) -> None:
    assert best(said) is wanted
