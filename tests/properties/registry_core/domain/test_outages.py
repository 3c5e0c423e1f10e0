"""An outage of the store, whatever its length, costs nobody a lease: a model of replicas, agents and their breakers.

The breakers and the pace of the agents are the product's own; the amnesty is written down here as the contract
of the Redis store holds it. Each agent knows one replica alone, which is the worst that can be set up.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from functools import partial
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.registration.decisions import Timings, next_beat_after_failure, next_beat_at
from registry_core.domain.breaker import Admitted, Breaker, Seen
from registry_core.domain.leases import LeaseTerms

TERMS: Final = LeaseTerms()
TIMINGS: Final = Timings()
AGENTS: Final = 40
BEGINS_AT: Final = 100.0
FAILS_AFTER_S: Final = 5.0  # the time that an operation has
SWEEP_EVERY_S: Final = 0.8 * TERMS.sweep_every_s


class Outage:
    """Replicas that sweep and pass heartbeats on, each with its own breaker, over a store that goes away."""

    def __init__(self, seed: int, length_s: float, replicas: int) -> None:
        self.oldest_s = 0.0
        self._random = random.Random(seed)
        self._ends_at = BEGINS_AT + length_s
        self._breakers = [Breaker() for _ in range(replicas)]
        self._heard_at = [0.0] * AGENTS
        self._failures = [0] * AGENTS
        self._swept_at = 0.0
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = 0
        for replica in range(replicas):
            self._at(self._random.random(), partial(self._sweep, replica))
        for agent in range(AGENTS):
            first = next_beat_at(0.0, self._random.random(), TIMINGS) * self._random.random()
            self._at(first, partial(self._beat, agent))

    def run(self) -> float:
        """Go on until all is long over; return how old the oldest lease was that a sweep found. Seconds."""
        now = 0.0
        while now < self._ends_at + 200.0:
            now, _, work = heapq.heappop(self._due)
            work(now)
        return self.oldest_s

    def _at(self, when: float, work: Callable[[float], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (when, self._count, work))

    def _call(self, replica: int, now: float, then: Callable[[float, bool], None]) -> None:
        """Ask the store; `then` is told when the answer is there, and whether it is one."""
        admission = self._breakers[replica].admission(now, self._random.random())
        if not isinstance(admission, Admitted):
            then(now, False)
            return
        good = not BEGINS_AT <= now < self._ends_at

        def answered(at: float) -> None:
            seen = Seen.SUCCESS if good else Seen.FAILURE
            self._breakers[replica] = self._breakers[replica].recorded(admission, seen, at)
            then(at, good)

        if good:
            answered(now)
        else:
            self._at(now + FAILS_AFTER_S, answered)

    def _sweep(self, replica: int, now: float) -> None:
        def swept(at: float, good: bool) -> None:
            if good:
                gap_s = at - self._swept_at
                if gap_s > TERMS.amnesty_after_s:
                    self._heard_at = [min(heard_at + 2 * gap_s, at) for heard_at in self._heard_at]
                self._swept_at = at
                self.oldest_s = max(self.oldest_s, at - min(self._heard_at))
            self._at(at + SWEEP_EVERY_S, partial(self._sweep, replica))

        self._call(replica, now, swept)

    def _beat(self, agent: int, now: float) -> None:
        def answered(at: float, good: bool) -> None:
            if good:
                self._heard_at[agent], self._failures[agent] = at, 0
                next_at = next_beat_at(at, self._random.random(), TIMINGS)
            else:
                self._failures[agent] += 1
                next_at = next_beat_after_failure(self._failures[agent], at, self._random.random(), TIMINGS)
            self._at(next_at, partial(self._beat, agent))

        self._call(agent % len(self._breakers), now, answered)


@given(st.integers(0, 100_000), st.one_of(st.floats(0.1, 60.0), st.floats(60.0, 1000.0)), st.integers(1, 5))
@settings(max_examples=60)
def test_nobody_who_lives_is_due_after_an_outage(seed: int, length_s: float, replicas: int) -> None:
    assert Outage(seed, length_s, replicas).run() < TERMS.removed_after_s


@pytest.mark.parametrize("length_s", [5.5, 6.0, 8.0, 10.0, 40.0, 90.0])
@pytest.mark.parametrize("replicas", [2, 5])
def test_nobody_is_due_after_an_outage_of_which_some_breakers_know_and_others_do_not(
    replicas: int, length_s: float
) -> None:
    ages_s = [Outage(seed, length_s, replicas).run() for seed in range(5)]
    assert max(ages_s) < TERMS.removed_after_s
