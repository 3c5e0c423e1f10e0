"""The guard over any history of deaths, returns, deregistrations, releases and pauses of the sweep.

Whichever store it guards.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_core.domain.guard import GuardPhase, GuardTerms
from registry_core.domain.leases import LeaseTerms, SweepPlan
from registry_core.domain.records import InstanceKey
from registry_core.ports.store import SweepReport
from tests.contract.leases import LeaseKeeper, lease_keeper

TERMS = LeaseTerms(guard=GuardTerms(hold_s=120.0))
KEYS = [InstanceKey(service, str(number)) for service in ("ip-intel", "billing", "tracker") for number in range(5)]
SILENT = st.sets(st.sampled_from(KEYS), max_size=len(KEYS))
# Each step: its duration, the silent instances, and then an operator's action or a fault.
STEPS = st.lists(
    st.tuples(st.integers(10, 150), SILENT, st.sampled_from(["", "", "", "release", "deregister", "pause"])),
    min_size=1,
    max_size=8,
)


class Watched:
    """Leases whose every sweep is checked against the guard's promises."""

    def __init__(self, under_test: LeaseKeeper, seed: int) -> None:
        self.now = 0.0
        self.leases = under_test.begin(TERMS, 0.0, seed)
        self.alive = set(KEYS)
        self.heard_at = dict.fromkeys(KEYS, 0.0)
        self.suspects: set[InstanceKey] = set()
        self.expired_clear: deque[tuple[float, int]] = deque()
        self.expired_releasing: deque[float] = deque()
        self.paused_at = 0.0
        for key in KEYS:
            self.leases.grant(key, 0.0)

    def beat(self, key: InstanceKey) -> None:
        assert self.leases.renew(key, self.now) == (key in self.alive)
        if key not in self.alive:  # told that it is unknown, it registers again
            self.leases.grant(key, self.now)
            self.alive.add(key)
        self.heard_at[key] = self.now
        self.suspects.discard(key)

    def deregister(self, key: InstanceKey) -> None:
        assert self.leases.release(key) == (key in self.alive)
        self.alive.discard(key)
        self.suspects.discard(key)

    def sweep(self) -> None:
        before, sizes = set(self.alive), Counter(key.label for key in self.alive)
        plan = self.leases.sweep(self.now)
        if plan.amnesty_s:
            self.paused_at = self.now
        self.alive -= set(plan.expired)
        self.suspects = (self.suspects | set(plan.suspected)) - set(plan.expired)
        self.hold_to_promises(plan, before, sizes)

    def hold_to_promises(self, plan: SweepPlan | SweepReport, before: set[InstanceKey], sizes: Counter[str]) -> None:
        guard = TERMS.guard
        assert len(self.leases) == len(self.alive)
        assert all(key in self.leases for key in self.alive)
        assert self.leases.suspect_count == len(self.suspects)
        for key in (*plan.expired, *plan.suspected):
            assert self.now - self.heard_at[key] >= TERMS.removed_after_s, "none too early"
        match self.leases.guard.phase:
            case GuardPhase.CLEAR:
                assert self.suspects == set()
                self.expired_clear.append((self.now, len(plan.expired)))
                while self.now - self.expired_clear[0][0] >= TERMS.ttl_s:
                    self.expired_clear.popleft()
                lately = sum(count for _, count in self.expired_clear)
                # A later deregistration shrinks the fleet, and does not undo earlier expiries.
                if plan.expired:
                    assert lately <= guard.limit(len(self.alive) + lately), "too many expired within one lease"
            case GuardPhase.HOLDING:
                assert plan.expired == ()
            case GuardPhase.RELEASING:
                self.expired_releasing.extend([self.now] * len(plan.expired))
                lost = Counter(key.label for key in plan.expired)
                assert all(sizes[label] == 1 or lost[label] < sizes[label] for label in lost)
        while self.expired_releasing and self.now - self.expired_releasing[0] >= 60.0:
            self.expired_releasing.popleft()
        assert len(self.expired_releasing) <= guard.budget(len(KEYS)) + 1
        if self.leases.guard.phase is not GuardPhase.CLEAR and not self.paused_at:
            due = {key for key in self.alive if self.now - self.heard_at[key] >= TERMS.removed_after_s}
            assert self.suspects == due, "a due lease that stays is suspect"
            assert set(plan.expired) <= before


@pytest.fixture(params=["memory", "redis"], scope="module")
def under_test(request: pytest.FixtureRequest) -> Iterator[LeaseKeeper]:
    yield from lease_keeper(request.param)


def test_never_too_many_expire_at_once_and_renewed_leases_never_do(under_test: LeaseKeeper) -> None:
    holds = given(under_test=st.just(under_test), steps=STEPS, seed=st.integers(0, 100))(hold_to_the_budget)
    settings(max_examples=int(150 * under_test.examples))(holds)()


def test_every_dead_instance_is_gone_in_the_end(under_test: LeaseKeeper) -> None:
    fleets = {"dead": st.integers(4, 40), "living": st.integers(0, 40), "seed": st.integers(0, 100)}
    holds = given(under_test=st.just(under_test), **fleets)(hold_until_all_are_gone)
    settings(max_examples=int(60 * under_test.examples))(holds)()


def hold_to_the_budget(under_test: LeaseKeeper, steps: list[tuple[int, set[InstanceKey], str]], seed: int) -> None:
    watched = Watched(under_test, seed)
    for duration_s, silent, then in steps:
        for second in range(1, duration_s + 1):
            watched.now += 1.0
            watched.sweep()
            for number, key in enumerate(KEYS):
                if key not in silent and (second + 2 * number) % 30 == 0:
                    watched.beat(key)
        if then == "release":
            watched.leases.release_guard(watched.now)
        elif then == "deregister":
            for key in sorted(silent, key=str)[:4]:
                watched.deregister(key)
        elif then == "pause":
            watched.now += 200.0


def hold_until_all_are_gone(under_test: LeaseKeeper, dead: int, living: int, seed: int) -> None:
    leases = under_test.begin(TERMS, 0.0, seed)
    for number in range(dead):
        leases.grant(InstanceKey(f"service-{number % 3}", str(number)), 0.0)
    for number in range(living):
        leases.grant(InstanceKey("living", str(number)), 1e9)
    bound_s = TERMS.ttl_s + TERMS.grace_s + TERMS.guard.hold_s + 60.0 * dead / TERMS.guard.budget_at_least + 60.0
    for second in range(1, int(bound_s)):
        leases.sweep(float(second))
    assert len(leases) == living
    assert leases.guard.phase is GuardPhase.CLEAR
