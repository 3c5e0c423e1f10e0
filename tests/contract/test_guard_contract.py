"""The mass-expiry guard that every store must have: held, served, renewed, released by a budget."""

from __future__ import annotations

from itertools import pairwise

import pytest

from registry_core.domain.events import Deregistered, Event, Expired, Registered
from registry_core.domain.guard import GuardPhase
from registry_core.domain.records import Instance, Status
from registry_core.errors import NotFound
from registry_core.ports.reports import GuardReport
from registry_core.ports.store import Beat
from tests.contract.harness import TERMS, StoreUnderTest
from tests.samples import claim

GUARD = TERMS.guard
DYING = [8001, 8002, 8003, 8004, 8005]
LIVING = [9001, 9002, 9003, 9004, 9005]


class Fleet:
    """A fleet of which one half falls silent, while the other sends heartbeats."""

    def __init__(self, tested: StoreUnderTest) -> None:
        self.tested = tested

    async def register(self) -> None:
        for port in DYING:
            await self.tested.store.register(claim("dying", port=port))
        for port in LIVING:
            await self.tested.store.register(claim("living", port=port))

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, with heartbeats of the living."""
        left = seconds
        while left > 0:
            step = min(left, TERMS.heartbeat_s)
            await self.tested.pass_time(step)
            await self.beat("living", LIVING)
            left -= step

    async def beat(self, service: str, ports: list[int]) -> list[str]:
        beats = [Beat(service, f"10.0.0.7:{port}") for port in ports]
        return [result.outcome for result in await self.tested.store.renew(beats)]

    @property
    def instances(self) -> dict[int, Instance]:
        return {instance.port: instance for instance in self.tested.feed.catalog}

    @property
    def suspects(self) -> list[int]:
        return sorted(port for port, instance in self.instances.items() if instance.suspect)

    @property
    def changes(self) -> list[Event]:
        return self.tested.feed.changes


def guard_of(tested: StoreUnderTest) -> GuardReport:
    (report,) = tested.store.guards()
    return report


async def held(tested: StoreUnderTest) -> Fleet:
    """Return a fleet of which one half is suspect."""
    fleet = Fleet(tested)
    await fleet.register()
    await fleet.pass_time(TERMS.ttl_s + TERMS.grace_s)
    assert fleet.suspects == DYING
    return fleet


async def test_a_silent_half_of_a_shard_is_kept_as_suspect(under_test: StoreUnderTest) -> None:
    fleet = Fleet(under_test)
    await fleet.register()
    assert guard_of(under_test).phase is GuardPhase.CLEAR
    await fleet.pass_time(TERMS.ttl_s + TERMS.grace_s)
    assert sorted(fleet.instances) == DYING + LIVING
    assert fleet.suspects == DYING
    report = guard_of(under_test)
    assert (report.phase, report.instances, report.suspects) == (GuardPhase.HOLDING, 10, 5)
    assert report.releases_in_s is not None
    assert GUARD.hold_s - 15 <= report.releases_in_s <= GUARD.hold_s
    assert report.held_s == pytest.approx(GUARD.hold_s - report.releases_in_s)
    snapshot = await under_test.store.snapshot()
    assert sorted(lived.instance.port for lived in snapshot.instances if lived.instance.suspect) == DYING


async def test_each_suspect_is_delivered_once_with_its_last_heartbeat(under_test: StoreUnderTest) -> None:
    fleet = Fleet(under_test)
    await fleet.register()
    first = {key: under_test.feed.catalog.heartbeat_at(key) for key in (i.key for i in fleet.instances.values())}
    await fleet.pass_time(TERMS.ttl_s + TERMS.grace_s + 30)
    told = [event for event in fleet.changes if isinstance(event, Registered) and event.instance.suspect]
    assert sorted(event.instance.port for event in told) == DYING
    assert all(event.heartbeat_at == pytest.approx(first[event.key]) for event in told)
    revisions = [position.revision for position in under_test.feed.positions]
    assert all(later == earlier + 1 for earlier, later in pairwise(revisions))


async def test_the_sweep_names_the_newly_held_instances(under_test: StoreUnderTest) -> None:
    fleet = Fleet(under_test)
    await fleet.register()
    await under_test.pass_time(TERMS.ttl_s)
    await fleet.beat("living", LIVING)
    await under_test.pass_time(TERMS.removed_after_s - TERMS.ttl_s - TERMS.sweep_every_s)
    await under_test.pass_time(TERMS.sweep_every_s + 0.5, sweeping=False)
    report = await under_test.store.sweep()
    assert report.expired == ()
    assert len(report.suspected) == 5
    assert (await under_test.store.sweep()).suspected == ()


async def test_three_are_too_few_to_be_held(under_test: StoreUnderTest) -> None:
    for port in DYING[:3]:
        await under_test.store.register(claim("dying", port=port))
    await under_test.pass_time(TERMS.ttl_s + TERMS.grace_s)
    assert len(under_test.feed.catalog) == 0
    assert guard_of(under_test).phase is GuardPhase.CLEAR


async def test_a_heartbeat_clears_a_suspect_and_is_delivered(under_test: StoreUnderTest) -> None:
    fleet = await held(under_test)
    assert await fleet.beat("dying", DYING[:1]) == ["renewed"]
    assert fleet.suspects == DYING[1:]
    last = [event for event in fleet.changes if isinstance(event, Registered)][-1]
    assert (last.instance.port, last.instance.suspect) == (DYING[0], False)
    before = len(fleet.changes)
    assert await fleet.beat("dying", DYING[:1]) == ["renewed"]
    assert len(fleet.changes) == before, "the next heartbeat is an ordinary one"


async def test_a_heartbeat_of_an_older_owner_clears_nothing(under_test: StoreUnderTest) -> None:
    for port in DYING:
        await under_test.store.register(claim("dying", port=port, epoch=5))
    await under_test.pass_time(TERMS.ttl_s + TERMS.grace_s)
    results = await under_test.store.renew([Beat("dying", "10.0.0.7:8001", 4)])
    assert [result.outcome for result in results] == ["fenced"]
    assert Fleet(under_test).suspects == DYING


async def test_a_repeated_registration_clears_a_suspect(under_test: StoreUnderTest) -> None:
    fleet = await held(under_test)
    before = fleet.instances[8001].registered_at
    grant = await under_test.store.register(claim("dying", port=8001))
    assert not grant.created
    assert not grant.instance.suspect
    assert fleet.suspects == DYING[1:]
    assert fleet.instances[8001].registered_at == before


async def test_a_status_does_not_clear_a_suspect(under_test: StoreUnderTest) -> None:
    fleet = await held(under_test)
    changed = await under_test.store.set_status(fleet.instances[8001].key, Status.WARNING)
    assert changed.suspect
    assert fleet.suspects == DYING


async def test_when_all_come_back_the_guard_is_clear_and_none_expired(under_test: StoreUnderTest) -> None:
    fleet = await held(under_test)
    await fleet.beat("dying", DYING)
    await fleet.pass_time(2)
    report = guard_of(under_test)
    assert (report.phase, report.suspects, report.held_s, report.releases_in_s) == (GuardPhase.CLEAR, 0, 0.0, None)
    assert not any(isinstance(event, Expired | Deregistered) for event in fleet.changes)


async def test_the_address_of_a_suspect_is_taken_over(under_test: StoreUnderTest) -> None:
    fleet = await held(under_test)
    await under_test.store.register(claim("newcomer", port=8001))
    assert fleet.instances[8001].service_name == "newcomer"
    assert not fleet.instances[8001].suspect
    assert fleet.suspects == DYING[1:]


async def test_a_suspect_can_be_deregistered_and_a_deregistration_never_counts(under_test: StoreUnderTest) -> None:
    fleet = Fleet(under_test)
    await fleet.register()
    for port in DYING[:4]:
        await under_test.store.deregister(fleet.instances[port].key)
    await fleet.pass_time(TERMS.ttl_s + TERMS.grace_s)
    assert sorted(fleet.instances) == LIVING, "one of six is no mass expiry"


async def test_suspects_expire_one_by_one_after_five_minutes(under_test: StoreUnderTest) -> None:
    fleet = await held(under_test)
    await fleet.pass_time(GUARD.hold_s - TERMS.heartbeat_s)
    assert fleet.suspects == DYING
    await fleet.pass_time(2 * TERMS.heartbeat_s)
    assert guard_of(under_test).phase is GuardPhase.RELEASING
    assert guard_of(under_test).releases_in_s is None
    assert 1 <= len(fleet.suspects) <= 4, "some have expired, by the budget"
    await fleet.pass_time(60.0 * len(DYING) / GUARD.budget_at_least + TERMS.heartbeat_s)
    assert sorted(fleet.instances) == LIVING
    assert [type(event) for event in fleet.changes if not isinstance(event, Registered)] == [Expired] * 5
    assert guard_of(under_test).phase is GuardPhase.CLEAR


async def test_an_operators_release_expires_them_at_once_by_the_budget(under_test: StoreUnderTest) -> None:
    fleet = await held(under_test)
    released = await under_test.store.release_guard()
    assert released == (guard_of(under_test).shard,)
    assert guard_of(under_test).phase is GuardPhase.RELEASING
    await fleet.pass_time(2)
    assert len(fleet.suspects) == 4
    await fleet.pass_time(60)
    assert 1 <= 5 - len(fleet.suspects) <= GUARD.budget_at_least + 1
    assert await fleet.beat("dying", DYING) != ["unknown"] * 5
    await fleet.pass_time(2)
    assert fleet.suspects == []
    assert guard_of(under_test).phase is GuardPhase.CLEAR


async def test_a_release_when_nothing_is_held_does_nothing(under_test: StoreUnderTest) -> None:
    assert await under_test.store.release_guard() == ()
    await held(under_test)
    shard = guard_of(under_test).shard
    assert await under_test.store.release_guard(shard) == (shard,)
    assert await under_test.store.release_guard(shard) == (), "it is already releasing"
    with pytest.raises(NotFound):
        await under_test.store.release_guard("no-such-shard")


async def test_a_time_without_sweeps_is_not_part_of_the_five_minutes(under_test: StoreUnderTest) -> None:
    fleet = await held(under_test)
    await under_test.pass_time(2 * GUARD.hold_s, sweeping=False)
    report = await under_test.store.sweep()
    assert report.amnesty_s > 0
    assert report.expired == ()
    assert guard_of(under_test).phase is GuardPhase.HOLDING
    assert fleet.suspects == DYING


async def test_after_an_hour_without_a_store_no_live_instance_expires_and_the_dead_go_a_few_at_a_time(
    under_test: StoreUnderTest,
) -> None:
    fleet = Fleet(under_test)
    await fleet.register()
    await fleet.pass_time(TERMS.heartbeat_s)
    await under_test.pass_time(3600, sweeping=False)  # no heartbeat arrives, and no sweep runs
    assert await fleet.beat("living", LIVING) == ["renewed"] * 5, "none expired meanwhile"
    left = [sorted(fleet.instances)]
    for _ in range(20):
        await fleet.pass_time(30)
        left.append(sorted(fleet.instances))
    assert left[2] == DYING + LIVING, "the dead are credited the time without a store"
    assert left[-1] == LIVING
    assert all(set(LIVING) <= set(ports) for ports in left)
    half_minutes = [len(before) - len(after) for before, after in pairwise(left)]
    assert max(half_minutes) <= GUARD.budget_at_least / 2 + 1, "by the budget of a minute, not all at once"


async def test_no_sweep_empties_a_service_of_several_instances(under_test: StoreUnderTest) -> None:
    for port in (8001, 8002, 8003):
        await under_test.store.register(claim("dying", port=port))
    for port in range(9001, 9010):
        await under_test.store.register(claim("living", port=port))
    beats = [Beat("living", f"10.0.0.7:{port}") for port in range(9001, 9010)]
    left: list[int] = []
    for second in range(int(TERMS.ttl_s + TERMS.grace_s)):
        await under_test.pass_time(1)
        left.append(len([i for i in under_test.feed.catalog if i.service_name == "dying"]))
        if second % 15 == 0:
            await under_test.store.renew(beats)
    assert left[-1] == 0, "all are gone within the lease and its grace"
    assert (3, 0) not in set(pairwise(left))
    assert any(before > after == 1 for before, after in pairwise(left)), "the last one waits for the next sweep"
    assert under_test.feed.catalog.names() == ["living"]
