"""Leases over any history of heartbeats, sweeps and pauses."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from registry_core.domain.leases import Leases, LeaseTerms
from registry_core.domain.records import InstanceKey

TERMS = LeaseTerms()
# Of three services: that the last one of a service of several waits for the next sweep is another matter.
KEYS = [InstanceKey(f"service-{name}", name) for name in "abc"]
# Each step: the seconds that pass (sweeping each second, or standing still), and who then sends a heartbeat.
STEPS = st.lists(
    st.tuples(st.integers(1, 90), st.booleans(), st.sets(st.sampled_from(KEYS))),
    min_size=1,
    max_size=12,
)


@given(STEPS)
def test_nobody_goes_early_nobody_stays_late_and_a_pause_is_nobodys_fault(
    steps: list[tuple[int, bool, set[InstanceKey]]],
) -> None:
    leases = Leases(TERMS, 0.0, random.Random(1))
    # The model counts, for each lease, only the seconds in which somebody was sweeping.
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
            for key in awake_since:
                awake_since[key] += 0.0 if gap else (duration_s if stopped else 1.0)
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
