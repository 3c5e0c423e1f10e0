"""Leases over any history of heartbeats, sweeps and pauses, whichever store keeps them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_core.domain.leases import LeaseTerms
from registry_core.domain.records import InstanceKey
from tests.contract.leases import LeaseKeeper, lease_keeper

TERMS = LeaseTerms()
# Of three services; the last one of a service with several instances waits for the next sweep, tested elsewhere.
KEYS = [InstanceKey(f"service-{name}", name) for name in "abc"]
# Each step: the seconds that pass (with a sweep each second, or none), and the instances that then send a heartbeat.
STEPS = st.lists(
    st.tuples(st.integers(1, 90), st.booleans(), st.sets(st.sampled_from(KEYS))),
    min_size=1,
    max_size=12,
)


@pytest.fixture(params=["memory", "redis"], scope="module")
def under_test(request: pytest.FixtureRequest) -> Iterator[LeaseKeeper]:
    yield from lease_keeper(request.param)


def test_no_lease_expires_early_or_late_and_pauses_are_credited(under_test: LeaseKeeper) -> None:
    holds = given(under_test=st.just(under_test), steps=STEPS)(hold_to_the_terms)
    settings(max_examples=int(100 * under_test.examples))(holds)()


def hold_to_the_terms(under_test: LeaseKeeper, steps: list[tuple[int, bool, set[InstanceKey]]]) -> None:
    leases = under_test.begin(TERMS, 0.0, 1)
    # For each lease the model counts only the seconds with sweeps, less those of the pauses that were credited
    # once more.
    awake_since: dict[InstanceKey, float] = {}
    now = 0.0
    for key in KEYS:
        leases.grant(key, now)
        awake_since[key] = 0.0
    for duration_s, stopped, beats in steps:
        gap = stopped and duration_s > TERMS.amnesty_after_s
        for second in range(1, duration_s + 1):
            if stopped and second < duration_s:
                continue
            plan = leases.sweep(now + second)
            assert (plan.amnesty_s > 0) == gap
            for key, awake_s in awake_since.items():
                if gap:
                    awake_since[key] = max(0.0, awake_s - (under_test.gives_a_gap - 1) * duration_s)
                else:
                    awake_since[key] = awake_s + (duration_s if stopped else 1.0)
            due = {key for key, awake_s in awake_since.items() if awake_s >= TERMS.removed_after_s}
            assert set(plan.expired) == due
            assert list(plan.expired) == sorted(plan.expired, key=lambda key: -awake_since[key])
            for key in due:
                del awake_since[key]
        now += duration_s
        for key in sorted(beats, key=str):
            assert leases.renew(key, now) == (key in awake_since)
            if key in awake_since:
                awake_since[key] = 0.0
        assert len(leases) == len(awake_since)
