"""An outage of the store, however long, costs no lease: a model of replicas, agents and their breakers.

The breakers, the pace of the agents and the amnesty are the product's own; the store's scripts give the amnesty, in a
real server. Each agent knows only one replica, which is the worst possible setup.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.registration.decisions import Timings
from agent.registration.pace import next_beat_after_failure, next_beat_at
from registry_core.domain.breaker import Admitted, Breaker, Seen
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.records import InstanceKey
from registry_core.domain.trial_draws import TrialDraws
from registry_core.store.redis import rows
from registry_core.store.redis.scripts import RedisCommand, ScriptName
from registry_core.store.redis.sweeper import EXTENDED_AT_ONCE
from tests.contract.redis_leases import ToldRedis, registration

TERMS: Final = LeaseTerms()
TIMINGS: Final = Timings()
AGENTS: Final = [InstanceKey("ip-intel", f"{number:03}") for number in range(40)]
BEGINS_AT: Final = 100.0
FAILS_AFTER_S: Final = 5.0  # the timeout of an operation
SWEEP_EVERY_S: Final = 0.8 * TERMS.sweep_every_s
# The calls of a sweep. When no lease is due and no guard holds, a sweep makes no others.
CENSUS: Final = (
    *map(rows.ms, (TERMS.ttl_s, TERMS.removed_after_s, TERMS.amnesty_after_s)),
    str(TERMS.most_per_sweep),
    str(EXTENDED_AT_ONCE),
)


class Outage:
    """Replicas that sweep and pass on heartbeats, each with its own breaker, over a store that goes away."""

    def __init__(self, server: ToldRedis, seed: int, length_s: float, replicas: int) -> None:
        self._shard = server.shard(0.0)
        self._calls: list[tuple[float, ScriptName, RedisCommand]] = []  # that the store accepted, with their times
        self._random = random.Random(seed)
        self._ends_at = BEGINS_AT + length_s
        self._breakers = [Breaker() for _ in range(replicas)]
        self._draws = [TrialDraws() for _ in range(replicas)]
        self._failures = dict.fromkeys(AGENTS, 0)
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = 0
        for replica in range(replicas):
            self._at(self._random.random(), partial(self._sweep, replica))
        for number, agent in enumerate(AGENTS):
            self._calls.append((0.0, ScriptName.REGISTER, registration(agent, number, TERMS)))
            first = next_beat_at(0.0, self._random.random(), TIMINGS) * self._random.random()
            self._at(first, partial(self._beat, number, agent))

    def run(self) -> int:
        """Continue until everything has settled; return the number of sweeps. Fails when one of them finds a due lease.

        No step depends on the store's answers, so all calls are sent at the end, at once.
        """
        now = 0.0
        while now < self._ends_at + 200.0:
            now, _, work = heapq.heappop(self._due)
            work(now)
        answers = zip(self._calls, self._shard.play(self._calls), strict=True)
        counted = [(at, answer) for (at, name, _), answer in answers if name is ScriptName.CENSUS]
        for at, (_, _, _, instances, _, due, guard, *_) in counted:
            assert (int(instances), int(due), guard) == (len(AGENTS), 0, b""), f"at {at}"
        return len(counted)

    def _at(self, when: float, work: Callable[[float], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (when, self._count, work))

    def _call(self, replica: int, now: float, then: Callable[[float, bool], None]) -> None:
        """Call the store; `then` is told when the answer arrives, and whether it is one."""
        admission = self._breakers[replica].admission(now, self._draws[replica].draw(self._breakers[replica], now))
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
                self._calls.append((at, ScriptName.CENSUS, CENSUS))
            self._at(at + SWEEP_EVERY_S, partial(self._sweep, replica))

        self._call(replica, now, swept)

    def _beat(self, number: int, agent: InstanceKey, now: float) -> None:
        def answered(at: float, good: bool) -> None:
            if good:
                self._calls.append((at, ScriptName.RENEW, (f"{agent.label}/{agent.instance_id}", "")))
                self._failures[agent] = 0
                next_at = next_beat_at(at, self._random.random(), TIMINGS)
            else:
                self._failures[agent] += 1
                next_at = next_beat_after_failure(self._failures[agent], at, self._random.random(), TIMINGS)
            self._at(next_at, partial(self._beat, number, agent))

        self._call(number % len(self._breakers), now, answered)


@pytest.fixture(scope="module")
def server() -> Iterator[ToldRedis]:
    running = ToldRedis()
    try:
        yield running
    finally:
        running.close()


# A short outage that one replica's breaker sees, and no sweep: found with random trials and slow retries.
@example(4561, 0.5, 2)
@given(st.integers(0, 100_000), st.one_of(st.floats(0.1, 60.0), st.floats(60.0, 1000.0)), st.integers(1, 5))
@settings(max_examples=60)
def test_no_live_lease_is_due_after_an_outage(server: ToldRedis, seed: int, length_s: float, replicas: int) -> None:
    assert Outage(server, seed, length_s, replicas).run() > 100


@pytest.mark.parametrize("length_s", [5.5, 6.0, 8.0, 10.0, 40.0, 90.0])
@pytest.mark.parametrize("replicas", [2, 5])
def test_no_lease_is_due_after_an_outage_that_only_some_breakers_saw(
    server: ToldRedis, replicas: int, length_s: float
) -> None:
    for seed in range(5):
        assert Outage(server, seed, length_s, replicas).run() > 100
