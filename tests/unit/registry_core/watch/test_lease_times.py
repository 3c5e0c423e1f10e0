"""What an agent shows of leases whose renewals it does not see: a bound that holds."""

from __future__ import annotations

import pytest

from registry_core.domain.records import InstanceKey
from registry_core.watch.changes import LeaseReport
from registry_core.watch.lease_times import LeaseTimes

KEY, LATE = InstanceKey("billing", "a"), InstanceKey("billing", "late")
NOW, UNIX = 100.0, 1_764_000_000.0


@pytest.fixture
def times() -> LeaseTimes:
    """Lease times of a registry whose clock shows UNIX at NOW."""
    known = LeaseTimes(60.0)
    known.opened(UNIX, NOW)
    return known


def test_without_a_sync_the_record_itself_counts(times: LeaseTimes) -> None:
    assert times.ttl_remaining_s(KEY, UNIX - 20, NOW) == 40.0
    assert times.heartbeat_at(KEY, UNIX - 20, NOW) == UNIX - 20
    assert LeaseTimes(60.0).ttl_remaining_s(KEY, UNIX, NOW) == 0.0, "unknown without a clock"


def test_a_lease_that_is_not_named_has_at_least_the_bound_left(times: LeaseTimes) -> None:
    times.told(LeaseReport(45.0, {}), NOW)
    assert times.ttl_remaining_s(KEY, UNIX - 3000, NOW) == 15.0
    assert times.heartbeat_at(KEY, UNIX - 3000, NOW) == UNIX - 45.0
    assert times.ttl_remaining_s(KEY, UNIX - 3000, NOW + 5) == 10.0, "the bound ages until the next sync"
    assert times.heartbeat_at(KEY, UNIX - 3000, NOW + 5) == UNIX - 45.0


def test_a_better_bound_is_shown(times: LeaseTimes) -> None:
    times.told(LeaseReport(45.0, {}), NOW)
    assert times.ttl_remaining_s(KEY, UNIX - 2, NOW) == 58.0
    assert times.heartbeat_at(KEY, UNIX - 2, NOW) == UNIX - 2


def test_a_late_lease_shows_its_last_heartbeat(times: LeaseTimes) -> None:
    times.told(LeaseReport(45.0, {LATE: UNIX - 70}), NOW)
    assert times.ttl_remaining_s(LATE, UNIX - 3000, NOW) == -10.0
    assert times.heartbeat_at(LATE, UNIX - 3000, NOW) == UNIX - 70
    assert times.ttl_remaining_s(KEY, UNIX - 3000, NOW) == 15.0


def test_nothing_is_promised_when_not_all_late_leases_are_named(times: LeaseTimes) -> None:
    times.told(LeaseReport(45.0, {LATE: UNIX - 70}, all_named=False), NOW)
    assert times.ttl_remaining_s(KEY, UNIX - 3000, NOW) < 0
    assert times.heartbeat_at(KEY, UNIX - 3000, NOW) == UNIX - 3000


@pytest.mark.parametrize(("ttl_s", "late_after_s"), [(30.0, 22.5), (120.0, 90.0)])
def test_an_agent_without_a_lease_learns_the_registrys_ttl(
    times: LeaseTimes, ttl_s: float, late_after_s: float
) -> None:
    times.told(LeaseReport(late_after_s, {}), NOW)
    assert times.ttl_remaining_s(KEY, UNIX - 3000, NOW) == ttl_s - late_after_s
    assert times.ttl_remaining_s(KEY, UNIX, NOW) == ttl_s


def test_a_bound_does_not_need_the_registrys_clock() -> None:
    times = LeaseTimes(60.0)
    times.told(LeaseReport(45.0, {}), NOW)
    assert times.ttl_remaining_s(KEY, UNIX, NOW + 1) == 14.0
    assert times.heartbeat_at(KEY, UNIX, NOW) == UNIX


def test_no_lease_has_more_left_than_the_ttl(times: LeaseTimes) -> None:
    assert times.ttl_remaining_s(KEY, UNIX + 500, NOW) == 60.0
