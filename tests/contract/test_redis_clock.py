"""A Redis server's clock is set, another server with a different clock takes over, or sweeps stop for a long time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from registry_core.domain.events import Expired
from registry_core.domain.guard import GuardPhase
from tests.contract.harness import TERMS
from tests.contract.redis_harness import RedisUnderTest
from tests.contract.test_guard_contract import DYING, GUARD, LIVING, Fleet, guard_of, held
from tests.samples import claim

HOUR_S = 3600.0
BY = pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S], ids=["ahead", "back"])


@pytest_asyncio.fixture
async def under_test() -> AsyncIterator[RedisUnderTest]:
    tested = RedisUnderTest()
    await tested.start()
    try:
        yield tested
    finally:
        await tested.close()


async def set_clock(tested: RedisUnderTest, by_s: float) -> None:
    """Set the server's clock. By its times it looks as if no sweep ran meanwhile."""
    await tested.pass_time(by_s, sweeping=False)


@BY
async def test_a_step_of_the_clock_expires_no_renewed_instance(under_test: RedisUnderTest, by_s: float) -> None:
    fleet = Fleet(under_test)
    await fleet.register()
    await fleet.pass_time(30)
    await set_clock(under_test, by_s)
    # Held back by a failover, heartbeats come before the first sweep by the new clock.
    await fleet.beat("living", LIVING)
    await under_test.store.register(claim("newcomer", port=7000))
    await fleet.pass_time(30)
    assert sorted(fleet.instances) == [7000, *DYING, *LIVING]
    assert fleet.suspects == []


@BY
async def test_silent_instances_still_expire(under_test: RedisUnderTest, by_s: float) -> None:
    fleet = Fleet(under_test)
    await under_test.store.register(claim("silent", port=7000))
    await fleet.pass_time(30)
    await set_clock(under_test, by_s)
    await fleet.register()
    # A clock set ahead cannot be told from a time without sweeps, which gives a full lease.
    left_s = TERMS.ttl_s + TERMS.grace_s - (30 if by_s < 0 else 0)
    for _ in range(2):
        await fleet.pass_time(left_s / 2 - 2)
        assert 7000 in fleet.instances
        await fleet.beat("dying", DYING)
    await fleet.pass_time(4)
    assert sorted(fleet.instances) == DYING + LIVING


@BY
async def test_the_guard_holds_for_its_five_minutes_no_less_and_no_more(
    under_test: RedisUnderTest, by_s: float
) -> None:
    fleet = await held(under_test)
    await fleet.pass_time(GUARD.hold_s - 60)
    await set_clock(under_test, by_s)
    await fleet.pass_time(20)
    assert guard_of(under_test).phase is GuardPhase.HOLDING
    assert fleet.suspects == DYING
    await fleet.pass_time(60)
    assert guard_of(under_test).phase is GuardPhase.RELEASING
    await fleet.pass_time(60.0 * len(DYING) / GUARD.budget_at_least)
    assert sorted(fleet.instances) == LIVING


@BY
async def test_released_instances_keep_expiring_by_the_budget(under_test: RedisUnderTest, by_s: float) -> None:
    fleet = await held(under_test)
    await under_test.store.release_guard()
    await fleet.pass_time(2)
    await set_clock(under_test, by_s)
    await fleet.pass_time(2)
    assert 1 <= len(DYING) - len(fleet.suspects) <= 2, "not all at once"
    await fleet.pass_time(60.0 * len(DYING) / GUARD.budget_at_least)
    assert sorted(fleet.instances) == LIVING


@BY
async def test_an_operators_release_applies_before_the_next_sweep(under_test: RedisUnderTest, by_s: float) -> None:
    fleet = await held(under_test)
    await set_clock(under_test, by_s)
    await under_test.store.release_guard()
    await fleet.pass_time(60.0 * len(DYING) / GUARD.budget_at_least)
    assert sorted(fleet.instances) == LIVING


@BY
async def test_earlier_expiries_do_not_count_for_longer(under_test: RedisUnderTest, by_s: float) -> None:
    fleet = Fleet(under_test)
    for port in DYING[:3]:
        await under_test.store.register(claim("gone", port=port))
    await under_test.pass_time(20)
    for port in LIVING:
        await under_test.store.register(claim("living", port=port))
    await under_test.store.register(claim("late", port=7000))
    await fleet.pass_time(60)
    assert sorted(fleet.instances) == [7000, *LIVING], "three are too few to be held"
    await set_clock(under_test, by_s)
    await under_test.store.register(claim("late", port=7000))
    await fleet.pass_time(TERMS.ttl_s + TERMS.grace_s)
    assert sorted(fleet.instances) == LIVING, "nor is one, a lease later"
    assert len([event for event in fleet.changes if isinstance(event, Expired)]) == 4


@pytest.mark.parametrize(("outage_s", "left_s"), [(20, TERMS.removed_after_s - 10), (90, TERMS.removed_after_s)])
async def test_an_outage_is_credited_twice_but_no_lease_exceeds_its_term(
    under_test: RedisUnderTest, outage_s: float, left_s: float
) -> None:
    await under_test.store.register(claim())
    await under_test.pass_time(30)
    await under_test.pass_time(outage_s, sweeping=False)
    await under_test.pass_time(left_s - 2)
    assert len(under_test.feed.catalog) == 1
    await under_test.pass_time(4)
    assert len(under_test.feed.catalog) == 0
