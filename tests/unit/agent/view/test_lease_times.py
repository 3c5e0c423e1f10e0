"""What an agent shows of leases that it is not told of one by one: a bound that holds."""

from __future__ import annotations

import pytest

from agent.view.lease_times import LeaseTimes
from registry_core.domain.records import InstanceKey
from registry_core.watch.changes import LeaseReport

KEY, LATE = InstanceKey("billing", "a"), InstanceKey("billing", "late")
NOW, UNIX = 100.0, 1_764_000_000.0


@pytest.fixture
def times() -> LeaseTimes:
    """Known of a registry whose clock shows UNIX at NOW."""
    known = LeaseTimes(60.0)
    known.opened(UNIX, NOW)
    return known


def test_before_a_word_of_the_registry_what_a_record_says_counts(times: LeaseTimes) -> None:
    assert times.ttl_remaining_s(KEY, UNIX - 20, NOW) == 40.0
    assert times.heartbeat_at(KEY, UNIX - 20, NOW) == UNIX - 20
    assert LeaseTimes(60.0).ttl_remaining_s(KEY, UNIX, NOW) == 0.0, "without a clock nobody can say"


def test_of_a_lease_that_is_not_named_at_least_so_much_is_left(times: LeaseTimes) -> None:
    times.told(LeaseReport(45.0, {}), NOW)
    assert times.ttl_remaining_s(KEY, UNIX - 3000, NOW) == 15.0
    assert times.heartbeat_at(KEY, UNIX - 3000, NOW) == UNIX - 45.0
    assert times.ttl_remaining_s(KEY, UNIX - 3000, NOW + 5) == 10.0, "the bound ages until the next sign of life"
    assert times.heartbeat_at(KEY, UNIX - 3000, NOW + 5) == UNIX - 45.0


def test_what_is_known_better_is_shown(times: LeaseTimes) -> None:
    times.told(LeaseReport(45.0, {}), NOW)
    assert times.ttl_remaining_s(KEY, UNIX - 2, NOW) == 58.0
    assert times.heartbeat_at(KEY, UNIX - 2, NOW) == UNIX - 2


def test_of_a_late_one_it_is_told_when_it_was_heard_of(times: LeaseTimes) -> None:
    times.told(LeaseReport(45.0, {LATE: UNIX - 70}), NOW)
    assert times.ttl_remaining_s(LATE, UNIX - 3000, NOW) == -10.0
    assert times.heartbeat_at(LATE, UNIX - 3000, NOW) == UNIX - 70
    assert times.ttl_remaining_s(KEY, UNIX - 3000, NOW) == 15.0


def test_when_not_all_late_ones_are_named_nothing_is_promised(times: LeaseTimes) -> None:
    times.told(LeaseReport(45.0, {LATE: UNIX - 70}, all_named=False), NOW)
    assert times.ttl_remaining_s(KEY, UNIX - 3000, NOW) < 0
    assert times.heartbeat_at(KEY, UNIX - 3000, NOW) == UNIX - 3000


@pytest.mark.parametrize(("ttl_s", "late_after_s"), [(30.0, 22.5), (120.0, 90.0)])
def test_an_agent_that_was_granted_no_lease_learns_the_ttl_of_the_registry(
    times: LeaseTimes, ttl_s: float, late_after_s: float
) -> None:
    times.told(LeaseReport(late_after_s, {}), NOW)
    assert times.ttl_remaining_s(KEY, UNIX - 3000, NOW) == ttl_s - late_after_s
    assert times.ttl_remaining_s(KEY, UNIX, NOW) == ttl_s


def test_a_bound_needs_no_clock_of_the_registry() -> None:
    times = LeaseTimes(60.0)
    times.told(LeaseReport(45.0, {}), NOW)
    assert times.ttl_remaining_s(KEY, UNIX, NOW + 1) == 14.0
    assert times.heartbeat_at(KEY, UNIX, NOW) == UNIX


def test_nothing_is_left_beyond_the_ttl(times: LeaseTimes) -> None:
    assert times.ttl_remaining_s(KEY, UNIX + 500, NOW) == 60.0
