"""Leases under test: those of the memory store, and those that the Redis store keeps in its server."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from registry_core.domain.guard import Guard
from registry_core.domain.leases import Leases, LeaseTerms, SweepPlan
from registry_core.domain.records import InstanceKey
from registry_core.ports.store import SweepReport
from tests.contract.redis_leases import RedisLeases, ToldRedis


class LeasesUnderTest(Protocol):
    """The leases of one shard, on a clock that is an argument."""

    @property
    def guard(self) -> Guard: ...
    @property
    def suspect_count(self) -> int: ...
    def __len__(self) -> int: ...
    def __contains__(self, key: InstanceKey) -> bool: ...
    def grant(self, key: InstanceKey, now: float) -> None: ...
    def renew(self, key: InstanceKey, now: float) -> bool: ...
    def release(self, key: InstanceKey) -> bool: ...
    def remaining_s(self, key: InstanceKey, now: float) -> float: ...
    def overdue(self, key: InstanceKey, now: float) -> bool: ...
    def release_guard(self, now: float) -> bool: ...
    def sweep(self, now: float) -> SweepPlan | SweepReport: ...


class LeaseKeeper(NamedTuple):
    """Creates leases. A gap without sweeps extends them by `gives_a_gap` times its length.

    In Redis that is twice: the breakers of other replicas may go on refusing heartbeats for as long again.
    """

    begin: Callable[[LeaseTerms, float, int], LeasesUnderTest]  # terms, now, seed
    gives_a_gap: int
    examples: float  # share of the examples that a property tries: each call to a server takes its time


def lease_keeper(name: str) -> Iterator[LeaseKeeper]:
    """Yield one of the keepers; it can create any number of leases, one after the other."""
    if name == "memory":
        yield LeaseKeeper(lambda terms, now, seed: Leases(terms, now, random.Random(seed)), 1, 1.0)
        return
    server = ToldRedis()
    try:
        yield LeaseKeeper(lambda terms, now, seed: RedisLeases(server, terms, now, random.Random(seed)), 2, 0.1)
    finally:
        server.close()
