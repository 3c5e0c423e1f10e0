"""Two replicas sweep one store at the same time: every effect of a sweep happens once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Collection

import pytest
import pytest_asyncio

from registry_core.domain.events import Expired, Registered
from registry_core.domain.guard import GuardPhase
from registry_core.domain.records import InstanceKey
from registry_core.ports.clock import SystemClock
from registry_core.ports.store import Beat, SweepReport
from registry_core.store.redis.store import RedisStore
from registry_core.store.redis.url import ServerAddress
from registry_core.store.redis.watcher import MasterWatcher
from tests.contract.harness import TERMS, RecordingFeed
from tests.contract.redis_harness import PREFIX, RedisUnderTest
from tests.contract.test_guard_contract import DYING, GUARD, LIVING, guard_of, held
from tests.samples import claim

AT_ONCE = 3  # sweeps of each replica


class Both:
    """A store under test, and a second replica's on the same server."""

    def __init__(self) -> None:
        self.tested = RedisUnderTest()
        self.feed = RecordingFeed()
        self.second = RedisStore(
            [MasterWatcher("main", nodes=[ServerAddress("127.0.0.1", self.tested.port)])],
            prefix=PREFIX,
            replicas=0,
            terms=TERMS,
            clock=SystemClock(),
            random=random.Random(2),
        )

    async def sweep(self) -> list[SweepReport]:
        """Let a second pass, and let both sweep at once, several times each."""
        await self.tested.pass_time(1.0, sweeping=False)
        first = self.tested.store
        assert isinstance(first, RedisStore)
        # At the shards: a store itself never starts a second sweep of a shard before the first one ended.
        sweepers = [shard.sweeper for store in (first, self.second) for shard in store._shards]
        sweeps = [sweeper.sweep(self.sizes) for sweeper in sweepers for _ in range(AT_ONCE)]
        return list(await asyncio.gather(*sweeps))

    def sizes(self, labels: Collection[str]) -> Counter[str]:
        return Counter(instance.key.label for instance in self.feed.catalog if instance.key.label in labels)


@pytest_asyncio.fixture
async def both() -> AsyncIterator[Both]:
    two = Both()
    await two.tested.start()
    try:
        await two.second.start(two.feed)
        yield two
    finally:
        await two.second.close()
        await two.tested.close()


@pytest.mark.parametrize("dying", [3, 12], ids=["too-few-for-the-guard", "enough-for-the-guard"])
@pytest.mark.parametrize("seed", range(3))
async def test_every_expiry_and_every_suspicion_happens_once(both: Both, seed: int, dying: int) -> None:
    chance = random.Random(seed)
    keys = [InstanceKey(f"service-{number % 4}", str(number)) for number in range(16)]
    for number, key in enumerate(keys):
        await both.tested.store.register(claim(key.label, instance_id=key.instance_id, port=8000 + number))
    dies_at = dict.fromkeys(keys, 1000) | {key: chance.choice([10, 40, 70]) for key in chance.sample(keys, dying)}
    expired: Counter[InstanceKey] = Counter()
    suspected: Counter[InstanceKey] = Counter()
    for second in range(1, 160):
        for report in await both.sweep():
            expired.update(report.expired)
            suspected.update(report.suspected)
        if second % 15 == 0:
            beats = [Beat(key.label, key.instance_id) for key in keys if second < dies_at[key]]
            results = await both.second.renew(beats)
            assert {result.outcome for result in results} <= {"renewed"}
    changes = both.tested.feed.changes
    assert set(expired.values()) <= {1}
    assert set(suspected.values()) <= {1}
    assert expired == Counter(event.key for event in changes if isinstance(event, Expired))
    assert suspected == Counter(
        event.key for event in changes if isinstance(event, Registered) and event.instance.suspect
    )
    assert len({*expired, *suspected}) == dying
    assert bool(suspected) == (dying > 3)
    assert not [key for key in (*expired, *suspected) if dies_at[key] == 1000]
    assert (await both.second.snapshot()).cursor == (await both.tested.store.snapshot()).cursor
    assert both.feed.catalog.digest == both.tested.feed.catalog.digest


async def test_the_budget_of_the_guard_is_spent_once(both: Both) -> None:
    fleet = await held(both.tested)
    await both.second.release_guard()
    began = len(fleet.suspects)
    for second in range(60):
        await both.sweep()
        if second % 15 == 0:
            await fleet.beat("living", LIVING)
    gone = began - len(fleet.suspects)
    assert 1 <= gone <= GUARD.budget_at_least + 1


async def test_an_outage_is_credited_once_and_is_not_part_of_the_five_minutes(both: Both) -> None:
    fleet = await held(both.tested)
    await both.tested.pass_time(2 * GUARD.hold_s, sweeping=False)
    reports = await both.sweep()
    assert len([report for report in reports if report.amnesty_s]) == 1
    for _ in range(3):
        await both.sweep()
    assert guard_of(both.tested).phase is GuardPhase.HOLDING
    assert fleet.suspects == DYING
