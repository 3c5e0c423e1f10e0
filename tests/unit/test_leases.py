"""Leases: what is live, overdue and gone, and what a gap in the sweeping does."""

from __future__ import annotations

import pytest

from registry_core.domain.leases import Leases, LeaseTerms
from registry_core.domain.records import InstanceKey

TERMS = LeaseTerms()
A, B = InstanceKey("ip-intel", "a"), InstanceKey("ip-intel", "b")


def swept(leases: Leases, start: float, end: float) -> dict[InstanceKey, float]:
    """Sweep each second from `start` to `end`; return when each key went."""
    gone: dict[InstanceKey, float] = {}
    now = start
    while now < end:
        now += TERMS.sweep_every_s
        gone |= dict.fromkeys(leases.sweep(now).expired, now)
    return gone


def test_an_instance_is_gone_at_most_ttl_and_grace_after_its_last_heartbeat() -> None:
    for phase in (0.0, 0.3, 0.999):
        leases = Leases(TERMS, 0.0)
        leases.grant(A, phase)
        gone = swept(leases, 0.0, 100.0)
        assert TERMS.ttl_s < gone[A] - phase <= TERMS.ttl_s + TERMS.grace_s


def test_between_ttl_and_removal_a_lease_is_overdue_and_still_there() -> None:
    leases = Leases(TERMS, 0.0)
    leases.grant(A, 0.0)
    assert not leases.overdue(A, 60.0)
    assert leases.overdue(A, 60.1)
    assert A in leases
    assert leases.remaining_s(A, 45.0) == 15.0
    assert leases.overdue(B, 0.0), "nobody has a lease without one"


def test_a_heartbeat_gives_the_full_term_again() -> None:
    leases = Leases(TERMS, 0.0)
    leases.grant(A, 0.0)
    assert swept(leases, 0.0, 70.0) == {}
    assert leases.renew(A, 70.0)
    assert swept(leases, 70.0, 143.0) == {}
    assert swept(leases, 143.0, 145.0) == {A: 144.0}


def test_who_has_no_lease_cannot_renew_it() -> None:
    leases = Leases(TERMS, 0.0)
    assert not leases.renew(A, 1.0)
    assert len(leases) == 0


def test_a_released_lease_never_expires() -> None:
    leases = Leases(TERMS, 0.0)
    leases.grant(A, 0.0)
    assert leases.release(A)
    assert not leases.release(A)
    assert swept(leases, 0.0, 100.0) == {}


def test_after_a_gap_in_the_sweeping_nobody_is_expired_who_was_alive_before_it() -> None:
    leases = Leases(TERMS, 0.0)
    leases.grant(A, 0.0)
    swept(leases, 0.0, 10.0)
    plan = leases.sweep(3610.0)  # the process was stopped for an hour
    assert plan.expired == ()
    assert plan.amnesty_s == pytest.approx(3600.0)
    assert leases.remaining_s(A, 3610.0) == pytest.approx(50.0), "as much as it had before the gap"
    assert swept(leases, 3610.0, 3680.0) == {A: 3674.0}


def test_an_amnesty_gives_nobody_more_than_a_full_term() -> None:
    leases = Leases(TERMS, 0.0)
    leases.grant(A, 0.0)
    leases.grant(B, 99.0)  # heartbeats were taken, only the sweep was late
    assert leases.sweep(100.0).amnesty_s == 100.0
    assert leases.remaining_s(B, 100.0) == TERMS.ttl_s


def test_a_late_sweep_within_the_allowance_is_no_amnesty() -> None:
    leases = Leases(TERMS, 0.0)
    assert leases.sweep(TERMS.amnesty_after_s).amnesty_s == 0.0
