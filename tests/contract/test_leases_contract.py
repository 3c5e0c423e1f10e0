"""Leases: live, overdue and gone, and the effect of a gap between sweeps, in every store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry_core.domain.guard import Guard, GuardPhase
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.records import InstanceKey
from tests.contract.leases import LeaseKeeper, LeasesUnderTest, lease_keeper

TERMS = LeaseTerms()
A, B, C = (InstanceKey("ip-intel", name) for name in "abc")


@pytest.fixture(params=["memory", "redis"], scope="module")
def under_test(request: pytest.FixtureRequest) -> Iterator[LeaseKeeper]:
    yield from lease_keeper(request.param)


def swept(leases: LeasesUnderTest, start: float, end: float) -> dict[InstanceKey, float]:
    """Sweep each second from `start` to `end`; return when each key expired."""
    gone: dict[InstanceKey, float] = {}
    now = start
    while now < end:
        now += TERMS.sweep_every_s
        gone |= dict.fromkeys(leases.sweep(now).expired, now)
    return gone


def test_an_instance_is_gone_at_most_ttl_and_grace_after_its_last_heartbeat(under_test: LeaseKeeper) -> None:
    for phase in (0.0, 0.3, 0.999):
        leases = under_test.begin(TERMS, 0.0, 1)
        leases.grant(A, phase)
        gone = swept(leases, 0.0, 100.0)
        assert TERMS.ttl_s < gone[A] - phase <= TERMS.ttl_s + TERMS.grace_s


def test_between_ttl_and_removal_a_lease_is_overdue_and_kept(under_test: LeaseKeeper) -> None:
    leases = under_test.begin(TERMS, 0.0, 1)
    leases.grant(A, 0.0)
    assert not leases.overdue(A, 60.0)
    assert leases.overdue(A, 60.1)
    assert A in leases
    assert leases.remaining_s(A, 45.0) == 15.0
    assert leases.overdue(B, 0.0), "an instance without a lease has no time left"


def test_a_heartbeat_gives_the_full_term_again(under_test: LeaseKeeper) -> None:
    leases = under_test.begin(TERMS, 0.0, 1)
    leases.grant(A, 0.0)
    assert swept(leases, 0.0, 70.0) == {}
    assert leases.renew(A, 70.0)
    assert swept(leases, 70.0, 143.0) == {}
    assert swept(leases, 143.0, 145.0) == {A: 144.0}


def test_a_missing_lease_cannot_be_renewed(under_test: LeaseKeeper) -> None:
    leases = under_test.begin(TERMS, 0.0, 1)
    assert not leases.renew(A, 1.0)
    assert len(leases) == 0


def test_a_released_lease_never_expires(under_test: LeaseKeeper) -> None:
    leases = under_test.begin(TERMS, 0.0, 1)
    leases.grant(A, 0.0)
    assert leases.release(A)
    assert not leases.release(A)
    assert swept(leases, 0.0, 100.0) == {}


@pytest.mark.parametrize("gap_s", [20.0, 3600.0])
@pytest.mark.parametrize("age_s", [40.0, 73.0])
def test_after_a_gap_between_sweeps_no_lease_that_was_live_before_it_expires(
    under_test: LeaseKeeper, age_s: float, gap_s: float
) -> None:
    leases = under_test.begin(TERMS, 0.0, 1)
    leases.grant(A, 0.0)
    assert swept(leases, 0.0, age_s) == {}
    now = age_s + gap_s  # the process was stopped, or the store unreachable
    plan = leases.sweep(now)
    assert plan.expired == ()
    assert plan.amnesty_s == pytest.approx(gap_s)
    age_s = max(0.0, age_s - (under_test.gives_a_gap - 1) * gap_s)
    assert leases.remaining_s(A, now) == pytest.approx(TERMS.ttl_s - age_s), "as much as before the gap, at least"
    goes_at = now + TERMS.removed_after_s - age_s
    assert swept(leases, now, goes_at + 5.0) == {A: goes_at}


def test_an_amnesty_gives_no_lease_more_than_a_full_term(under_test: LeaseKeeper) -> None:
    leases = under_test.begin(TERMS, 0.0, 1)
    leases.grant(A, 0.0)
    leases.grant(B, 99.0)  # heartbeats were accepted, only the sweep was late
    assert leases.sweep(100.0).amnesty_s == 100.0
    assert leases.remaining_s(B, 100.0) == TERMS.ttl_s


def test_a_sweep_expires_a_bounded_number_oldest_first_and_the_next_continues(under_test: LeaseKeeper) -> None:
    leases = under_test.begin(LeaseTerms(most_per_sweep=2), 0.0, 1)
    for key in (A, B, C):
        leases.grant(key, 0.0)
    swept(leases, 0.0, 73.0)
    assert leases.sweep(74.0).expired == (A, B)
    assert leases.sweep(75.0).expired == (C,)


def test_a_late_sweep_within_the_allowance_is_no_amnesty(under_test: LeaseKeeper) -> None:
    leases = under_test.begin(TERMS, 0.0, 1)
    assert leases.sweep(TERMS.amnesty_after_s).amnesty_s == 0.0


# -- the guard


def many(count: int, service: str = "ip-intel") -> list[InstanceKey]:
    return [InstanceKey(service, f"{number:03}") for number in range(count)]


def shard(under_test: LeaseKeeper, living: int, dying: int, late: float | None = None) -> LeasesUnderTest:
    """Return a shard whose dying instances were last renewed at 0, the living ones far later, and A at `late`."""
    leases = under_test.begin(TERMS, 0.0, 1)
    for key in many(dying, "dying"):
        leases.grant(key, 0.0)
    if late is not None:
        leases.grant(A, late)
    for key in many(living, "living"):
        leases.grant(key, 10_000.0)
    return leases


def test_a_mass_expiry_is_held_and_a_small_one_is_not(under_test: LeaseKeeper) -> None:
    assert len(swept(shard(under_test, living=7, dying=3), 0.0, 100.0)) == 3
    held = shard(under_test, living=6, dying=4)
    plans = [held.sweep(float(now)) for now in range(1, 101)]
    assert [plan.expired for plan in plans] == [()] * 100
    assert [key for plan in plans for key in plan.suspected] == many(4, "dying"), "each is reported once"
    assert held.suspect_count == 4
    assert held.guard == Guard(held_since=74.0)


def test_a_sweep_marks_a_bounded_number_and_still_holds_the_others(under_test: LeaseKeeper) -> None:
    leases = under_test.begin(LeaseTerms(most_per_sweep=3), 0.0, 1)
    for key in many(8):
        leases.grant(key, 0.0)
    swept(leases, 0.0, 73.0)
    plans = [leases.sweep(float(now)) for now in range(74, 78)]
    assert [len(plan.suspected) for plan in plans] == [3, 3, 2, 0]
    assert [plan.expired for plan in plans] == [()] * 4
    assert len(leases) == 8


def test_deaths_spread_over_a_heartbeat_interval_count_as_one(under_test: LeaseKeeper) -> None:
    leases = under_test.begin(TERMS, 0.0, 1)
    for number, key in enumerate(many(60, "dying")):
        leases.grant(key, number * 0.5)
    for key in many(40, "living"):
        leases.grant(key, 10_000.0)
    gone = swept(leases, 0.0, 200.0)
    assert 0 < len(gone) <= 5, "few expire before the number of silent ones is known"
    assert leases.suspect_count == 60 - len(gone)


def test_a_slow_dying_is_counted_over_one_lease(under_test: LeaseKeeper) -> None:
    # One every two seconds, so that three are overdue at a time in addition to the recently expired ones.
    leases = under_test.begin(TERMS, 0.0, 1)
    for number, key in enumerate(many(50, "dying")):
        leases.grant(key, number * 2.0)
    for key in many(20, "living"):
        leases.grant(key, 10_000.0)
    gone = swept(leases, 0.0, 200.0)
    assert 10 <= len(gone) < 21


def test_expiries_longer_ago_than_a_lease_are_not_counted(under_test: LeaseKeeper) -> None:
    leases = under_test.begin(TERMS, 0.0, 1)
    for round_ in range(4):
        for key in many(3, f"round-{round_}"):
            leases.grant(key, round_ * 100.0)
    assert len(swept(leases, 0.0, 400.0)) == 12


def test_a_deregistration_never_counts(under_test: LeaseKeeper) -> None:
    leases = shard(under_test, living=3, dying=7)
    swept(leases, 0.0, 70.0)
    for key in many(6, "dying"):
        leases.release(key)
    assert len(swept(leases, 70.0, 80.0)) == 1


def test_a_renewed_suspect_is_no_longer_one(under_test: LeaseKeeper) -> None:
    leases = shard(under_test, living=6, dying=4)
    swept(leases, 0.0, 80.0)
    back = many(4, "dying")[2]
    assert leases.renew(back, 80.0)
    assert leases.suspect_count == 3
    assert swept(leases, 80.0, 100.0) == {}
    assert leases.guard.phase is GuardPhase.HOLDING


def test_the_guard_is_clear_when_all_are_renewed(under_test: LeaseKeeper) -> None:
    leases = shard(under_test, living=6, dying=4)
    swept(leases, 0.0, 80.0)
    for key in many(4, "dying"):
        leases.renew(key, 80.0)
    leases.sweep(81.0)
    assert leases.guard.phase is GuardPhase.CLEAR
    assert not leases.release_guard(81.0)


def test_after_five_minutes_they_expire_by_the_budget_per_minute(under_test: LeaseKeeper) -> None:
    leases = shard(under_test, living=6, dying=4)
    assert sorted(swept(leases, 0.0, 500.0).values()) == [374.0, 394.0, 414.0, 434.0]
    assert leases.guard.phase is GuardPhase.CLEAR
    assert len(leases) == 6


def test_an_operators_release_starts_the_expiry_at_once(under_test: LeaseKeeper) -> None:
    leases = shard(under_test, living=6, dying=4)
    swept(leases, 0.0, 100.0)
    assert leases.release_guard(100.0)
    assert not leases.release_guard(100.0), "it is already releasing"
    assert sorted(swept(leases, 100.0, 200.0).values()) == [101.0, 120.0, 140.0, 160.0]


def test_instances_that_die_during_a_release_wait_for_the_budget_too(under_test: LeaseKeeper) -> None:
    leases = shard(under_test, living=6, dying=4, late=30.0)
    swept(leases, 0.0, 100.0)
    leases.release_guard(100.0)
    plan = leases.sweep(101.0)
    assert len(plan.expired) == 1
    swept(leases, 101.0, 104.0)
    assert leases.suspect_count == 4


def test_released_instances_do_not_raise_the_next_alarm(under_test: LeaseKeeper) -> None:
    leases = shard(under_test, living=6, dying=4, late=90.0)
    swept(leases, 0.0, 100.0)
    leases.release_guard(100.0)
    assert len(swept(leases, 100.0, 161.0)) == 4
    assert swept(leases, 161.0, 165.0) == {A: 164.0}


def test_a_gap_between_sweeps_is_not_part_of_the_five_minutes(under_test: LeaseKeeper) -> None:
    leases = shard(under_test, living=6, dying=4)
    swept(leases, 0.0, 100.0)
    plan = leases.sweep(1100.0)
    assert (plan.expired, plan.suspected) == ((), ())
    assert (leases.guard.phase, leases.guard.held_since) == (GuardPhase.HOLDING, 1074.0)
    assert min(swept(leases, 1100.0, 1400.0).values()) == 1374.0


def test_a_gap_accumulates_no_budget(under_test: LeaseKeeper) -> None:
    leases = shard(under_test, living=6, dying=20)
    swept(leases, 0.0, 100.0)
    leases.release_guard(100.0)
    leases.sweep(101.0)
    assert len(leases.sweep(1100.0).expired) == 1


def test_a_suspect_stays_one_until_it_is_renewed_despite_rounding_over_a_long_gap(under_test: LeaseKeeper) -> None:
    heard_at, swept_at, resumed_at = 0.6924728983127597, 74.69247289831276, 1281.9979010648112
    assert resumed_at - (heard_at + (resumed_at - swept_at)) < TERMS.removed_after_s <= swept_at - heard_at
    leases = under_test.begin(TERMS, 0.0, 1)
    for key in many(4):
        leases.grant(key, heard_at)
    swept(leases, 0.0, 74.0)
    assert leases.sweep(swept_at).suspected == tuple(many(4))
    leases.sweep(resumed_at)
    assert (leases.guard.phase, leases.suspect_count) == (GuardPhase.HOLDING, 4)
