"""How every store treats late and repeated writes: the order of one owner's writes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from registry_core.domain.admission import Newcomer
from registry_core.domain.events import Deregistered, Registered, StatusChanged
from registry_core.domain.order import MAX_SEQUENCE, TOMBSTONE_S
from registry_core.domain.records import Instance, InstanceKey, Status
from registry_core.domain.restoration import RestoreOutcome
from registry_core.errors import Conflict, Fenced, Late, NotFound
from registry_core.ports.store import Beat
from tests.contract.harness import TERMS, StoreUnderTest
from tests.samples import claim, instance

KEY = InstanceKey("ip-intel", "10.0.0.7:8034")


def shown(tested: StoreUnderTest, key: InstanceKey = KEY) -> Instance | None:
    return tested.feed.catalog.get(key)


async def registered(tested: StoreUnderTest, sequence: int | None = 10, epoch: int = 5) -> Instance:
    return (await tested.store.register(claim(epoch=epoch), sequence=sequence)).instance


def late_writes(tested: StoreUnderTest, sequence: int, epoch: int | None = 5) -> list[Callable[[], Awaitable[object]]]:
    """Return one write of each kind with these numbers."""
    store = tested.store
    return [
        lambda: store.register(claim(epoch=epoch, version="0.9.0"), sequence=sequence),
        lambda: store.set_status(KEY, Status.CRITICAL, epoch, sequence=sequence),
        lambda: store.deregister(KEY, epoch, sequence=sequence),
    ]


# -- late


async def test_a_write_sent_before_the_last_one_changes_nothing(under_test: StoreUnderTest) -> None:
    held = await registered(under_test, 10)
    events = len(under_test.feed.events)
    for epoch in (5, None):
        for write in late_writes(under_test, 9, epoch):
            with pytest.raises(Late):
                await write()
    assert shown(under_test) == held
    assert len(under_test.feed.events) == events


async def test_each_kind_of_write_makes_earlier_ones_late(under_test: StoreUnderTest) -> None:
    await registered(under_test, 10)
    await under_test.store.set_status(KEY, Status.CRITICAL, 5, sequence=20)
    with pytest.raises(Late):
        await under_test.store.register(claim(epoch=5), sequence=19)
    await under_test.store.set_status(KEY, Status.PASSING, 5, sequence=21)
    with pytest.raises(Late):
        await under_test.store.set_status(KEY, Status.CRITICAL, 5, sequence=20)
    held = shown(under_test)
    assert held is not None
    assert held.status is Status.PASSING
    await under_test.store.register(claim(epoch=5, version="2.0.0"), sequence=MAX_SEQUENCE)
    with pytest.raises(Late):
        await under_test.store.deregister(KEY, 5, sequence=MAX_SEQUENCE - 1)


async def test_a_status_that_changes_nothing_makes_earlier_writes_late_too(under_test: StoreUnderTest) -> None:
    await registered(under_test, 10)
    await under_test.store.set_status(KEY, Status.PASSING, 5, sequence=12)
    with pytest.raises(Late):
        await under_test.store.set_status(KEY, Status.CRITICAL, 5, sequence=11)
    assert [type(e) for e in under_test.feed.changes] == [Registered]


async def test_a_repeated_record_makes_earlier_writes_late_too(under_test: StoreUnderTest) -> None:
    await registered(under_test, 10)
    await registered(under_test, 12)
    with pytest.raises(Late):
        await under_test.store.set_status(KEY, Status.CRITICAL, 5, sequence=11)


async def test_a_refused_write_does_not_count(under_test: StoreUnderTest) -> None:
    await under_test.store.register(claim("billing", port=9000))
    await registered(under_test, 10)
    with pytest.raises(Conflict):
        await under_test.store.register(claim(port=9000, instance_id=KEY.instance_id, epoch=5), sequence=15)
    changed = await under_test.store.set_status(KEY, Status.WARNING, 5, sequence=11)
    assert changed.status is Status.WARNING


async def test_sequences_are_counted_for_each_instance(under_test: StoreUnderTest) -> None:
    await registered(under_test, 10)
    await under_test.store.register(claim("billing", port=9000, epoch=5), sequence=3)
    await under_test.store.set_status(InstanceKey("billing", "10.0.0.7:9000"), Status.WARNING, 5, sequence=4)


async def test_a_newer_owner_starts_a_new_sequence(under_test: StoreUnderTest) -> None:
    await registered(under_test, 1000, epoch=5)
    await registered(under_test, 0, epoch=6)
    await under_test.store.set_status(KEY, Status.WARNING, 6, sequence=1)
    for write in late_writes(under_test, 2000, epoch=5):
        with pytest.raises(Fenced):
            await write()


async def test_an_expired_instance_starts_a_new_sequence(under_test: StoreUnderTest) -> None:
    await registered(under_test, 10)
    await under_test.pass_time(TERMS.ttl_s + TERMS.grace_s)
    assert shown(under_test) is None
    assert (await under_test.store.register(claim(epoch=5), sequence=3)).created


async def test_concurrent_writes_out_of_order_leave_the_newest(under_test: StoreUnderTest) -> None:
    await registered(under_test, 0)
    order = list(range(1, 41))
    random.Random(3).shuffle(order)
    statuses = {n: Status.PASSING if n == 40 else Status.CRITICAL for n in order}
    results = await asyncio.gather(
        *(under_test.store.set_status(KEY, statuses[n], 5, sequence=n) for n in order), return_exceptions=True
    )
    assert {type(r) for r in results if isinstance(r, BaseException)} <= {Late}
    held = shown(under_test)
    assert held is not None
    assert held.status is Status.PASSING


# -- repetitions


async def test_a_repeated_registration_returns_the_same_and_changes_nothing(under_test: StoreUnderTest) -> None:
    held = await registered(under_test, 10)
    events = len(under_test.feed.events)
    again = await under_test.store.register(claim(epoch=5), sequence=10)
    assert again.instance == held
    assert len(under_test.feed.events) == events


async def test_a_repeated_registration_does_not_undo_later_changes_by_others(under_test: StoreUnderTest) -> None:
    await registered(under_test, 10)
    await under_test.store.set_status(KEY, Status.MAINTENANCE)  # an operator
    again = await under_test.store.register(claim(epoch=5), sequence=10)
    assert again.instance.status is Status.MAINTENANCE
    assert shown(under_test) == again.instance


async def test_a_repeated_status_returns_the_same_and_changes_nothing(under_test: StoreUnderTest) -> None:
    await registered(under_test, 10)
    for _ in range(3):
        changed = await under_test.store.set_status(KEY, Status.WARNING, 5, sequence=11)
        assert changed.status is Status.WARNING
    assert [type(e) for e in under_test.feed.changes] == [Registered, StatusChanged]


async def test_a_repeated_deregistration_gets_the_answer_of_the_first(under_test: StoreUnderTest) -> None:
    held = await registered(under_test, 10)
    for _ in range(3):
        gone = await under_test.store.deregister(KEY, 5, sequence=11)
        assert (gone.service_name, gone.key, gone.epoch) == (held.service_name, KEY, 5)
    assert [type(e) for e in under_test.feed.changes] == [Registered, Deregistered]


async def test_a_sequence_used_for_another_kind_of_write_is_late(under_test: StoreUnderTest) -> None:
    held = await registered(under_test, 10)
    with pytest.raises(Late):
        await under_test.store.deregister(KEY, 5, sequence=10)
    assert shown(under_test) == held
    await under_test.store.deregister(KEY, 5, sequence=11)
    with pytest.raises(Late):
        await under_test.store.register(claim(epoch=5), sequence=11)
    assert shown(under_test) is None


# -- tombstones


async def test_a_write_sent_before_a_deregistration_restores_nothing(under_test: StoreUnderTest) -> None:
    await registered(under_test, 10)
    await under_test.store.deregister(KEY, 5, sequence=20)
    await under_test.pass_time(TOMBSTONE_S - 5)
    events = len(under_test.feed.events)
    for write in late_writes(under_test, 19):
        with pytest.raises(Late):
            await write()
    for write in late_writes(under_test, 30, epoch=4):
        with pytest.raises(Fenced):
            await write()
    assert shown(under_test) is None
    assert len(under_test.feed.events) == events


async def test_a_late_write_does_not_undo_an_operators_deregistration(under_test: StoreUnderTest) -> None:
    await registered(under_test, 10)
    await under_test.store.deregister(KEY)
    with pytest.raises(Late):
        await under_test.store.register(claim(epoch=5), sequence=9)
    with pytest.raises(Fenced):
        await under_test.store.register(claim(epoch=4))
    assert (await under_test.store.register(claim(epoch=5), sequence=11)).created, "its owner may come back"


@pytest.mark.parametrize(("epoch", "sequence"), [(5, 21), (6, 0), (5, None), (None, None), (6, None)])
async def test_a_newer_registration_is_accepted_after_a_deregistration(
    under_test: StoreUnderTest, epoch: int | None, sequence: int | None
) -> None:
    await registered(under_test, 10)
    await under_test.store.deregister(KEY, 5, sequence=20)
    assert (await under_test.store.register(claim(epoch=epoch), sequence=sequence)).created
    assert [r.outcome for r in await under_test.store.renew([Beat("ip_intel", KEY.instance_id)])] == ["renewed"]
    gone = await under_test.store.deregister(KEY, epoch, sequence=None if sequence is None else sequence + 1)
    assert gone.key == KEY


async def test_a_late_write_stays_late_after_a_registration_without_a_sequence(under_test: StoreUnderTest) -> None:
    await registered(under_test, 10)
    await under_test.store.deregister(KEY, 5, sequence=20)
    held = await registered(under_test, None)
    for write in late_writes(under_test, 19):
        with pytest.raises(Late):
            await write()
    assert shown(under_test) == held
    await under_test.store.set_status(KEY, Status.WARNING, 5, sequence=21)


async def test_a_tombstone_expires(under_test: StoreUnderTest) -> None:
    await registered(under_test, 10)
    await under_test.store.deregister(KEY, 5, sequence=20)
    await under_test.pass_time(TOMBSTONE_S + 1)
    assert (await under_test.store.register(claim(epoch=4), sequence=1)).created


async def test_removing_a_missing_instance_makes_earlier_writes_late(under_test: StoreUnderTest) -> None:
    """The registration is still in progress when its owner leaves."""
    with pytest.raises(NotFound):
        await under_test.store.deregister(KEY, 5, sequence=11)
    with pytest.raises(Late):
        await under_test.store.register(claim(epoch=5), sequence=10)
    await registered(under_test, 20)
    await under_test.store.deregister(KEY, 5, sequence=30)
    with pytest.raises(NotFound):
        await under_test.store.deregister(KEY, 5, sequence=40)
    with pytest.raises(Late):
        await under_test.store.register(claim(epoch=5), sequence=35)
    assert shown(under_test) is None
    assert (await under_test.store.register(claim(epoch=5), sequence=41)).created


async def test_a_newer_status_of_a_removed_instance_is_not_found(under_test: StoreUnderTest) -> None:
    await registered(under_test, 10)
    await under_test.store.deregister(KEY, 5, sequence=20)
    for epoch, sequence in ((5, 21), (6, 0), (None, None)):
        with pytest.raises(NotFound):
            await under_test.store.set_status(KEY, Status.PASSING, epoch, sequence=sequence)


async def test_a_removed_instances_address_and_name_are_free(under_test: StoreUnderTest) -> None:
    await registered(under_test, 10)
    await under_test.store.deregister(KEY, 5, sequence=20)
    assert (await under_test.store.register(claim("ip-intel", instance_id="other", epoch=1), sequence=1)).created


# -- writes without a sequence


async def test_writes_without_a_sequence_are_ordered_by_epoch_alone(under_test: StoreUnderTest) -> None:
    await registered(under_test, 10)
    await under_test.store.set_status(KEY, Status.WARNING)
    await under_test.store.set_status(KEY, Status.CRITICAL, 5)
    await registered(under_test, None)
    with pytest.raises(Fenced):
        await under_test.store.set_status(KEY, Status.CRITICAL, 4)
    with pytest.raises(Late):
        await under_test.store.set_status(KEY, Status.CRITICAL, 5, sequence=9)
    held = shown(under_test)
    assert held is not None
    assert held.status is Status.PASSING


async def test_a_record_registered_without_a_sequence_accepts_the_first_one(under_test: StoreUnderTest) -> None:
    await registered(under_test, None)
    await under_test.store.set_status(KEY, Status.WARNING, 5, sequence=0)
    with pytest.raises(Late):
        await under_test.store.deregister(KEY, 5, sequence=0)
    await under_test.store.deregister(KEY, 5, sequence=1)


async def test_a_sequence_without_an_epoch_counts_in_the_present_one(under_test: StoreUnderTest) -> None:
    await under_test.store.register(claim(), sequence=3)
    with pytest.raises(Late):
        await under_test.store.set_status(KEY, Status.CRITICAL, sequence=2)
    await under_test.store.set_status(KEY, Status.WARNING, sequence=4)
    with pytest.raises(Late):
        await under_test.store.register(claim(), sequence=3)


async def test_a_saved_record_may_be_restored_after_a_deregistration(under_test: StoreUnderTest) -> None:
    await registered(under_test, 10)
    await under_test.store.deregister(KEY, 5, sequence=20)
    saved = instance(epoch=5, registered_at=1_700_000_000.0)
    assert await under_test.store.restore(saved) is RestoreOutcome.RESTORED
    assert shown(under_test) == saved
    with pytest.raises(Late):
        await under_test.store.set_status(KEY, Status.CRITICAL, 5, sequence=19)
    await under_test.store.set_status(KEY, Status.WARNING, 5, sequence=21)


# -- another service's address


async def test_a_caller_without_the_right_to_displace_takes_no_critical_instance_of_another_service(
    under_test: StoreUnderTest,
) -> None:
    await registered(under_test, 10)
    victim = await under_test.store.set_status(KEY, Status.CRITICAL)
    with pytest.raises(Conflict, match=r"10\.0\.0\.7:8034 is registered as instance"):
        await under_test.store.register(claim("billing"), newcomer=Newcomer(may_displace=False))
    assert list(under_test.feed.catalog) == [victim]
    grant = await under_test.store.register(claim("billing"))
    assert list(under_test.feed.catalog) == [grant.instance], "with that right, it does"


async def test_a_caller_without_the_right_to_displace_takes_over_from_its_own_service(
    under_test: StoreUnderTest,
) -> None:
    await registered(under_test, 10)
    await under_test.store.set_status(KEY, Status.CRITICAL)
    grant = await under_test.store.register(claim(instance_id="new"), newcomer=Newcomer(may_displace=False))
    assert list(under_test.feed.catalog) == [grant.instance]


async def test_a_caller_without_the_right_to_displace_takes_over_from_an_overdue_instance(
    under_test: StoreUnderTest,
) -> None:
    await registered(under_test, 10)
    await under_test.pass_time(TERMS.ttl_s + 2)
    grant = await under_test.store.register(claim("billing"), newcomer=Newcomer(may_displace=False))
    assert list(under_test.feed.catalog) == [grant.instance]


async def test_a_caller_without_the_right_to_displace_takes_over_from_a_suspect(under_test: StoreUnderTest) -> None:
    for port in range(9001, 9011):
        await under_test.store.register(claim("osint-service", port=port))
    await under_test.pass_time(TERMS.ttl_s + TERMS.grace_s)
    suspect = next(i for i in under_test.feed.catalog if i.suspect)
    grant = await under_test.store.register(claim("billing", port=suspect.port), newcomer=Newcomer(may_displace=False))
    assert under_test.feed.catalog.holders([suspect.address]) == (grant.instance,)


# -- all of it together


@pytest.mark.parametrize("seed", range(8))
async def test_the_newest_accepted_write_stands_whatever_the_order_of_arrival(
    under_test: StoreUnderTest, seed: int
) -> None:
    """Three owners, one after the other; each write is sent once or twice and overtakes others on the way."""
    chance = random.Random(seed)
    print(f"seed {seed}")  # noqa: T201 - a proof names its seed
    sent: list[tuple[int, int, str]] = []
    for epoch in (1, 2, 3):
        sent += [(epoch, 0, "register")]
        sent += [(epoch, n, chance.choice(("register", "status", "status", "remove"))) for n in range(1, 8)]
    arriving = [write for write in sent for _ in range(chance.choice((1, 1, 2)))]
    # Nearly in order, with a few that come far too late.
    arriving.sort(key=lambda w: (w[0] * 8 + w[1]) + chance.choice((0, 0, 0, 3, 12)) * chance.random())
    newest: tuple[int, int, str] | None = None
    for epoch, sequence, kind in arriving:
        if kind != "register" and (newest is None or newest[0] < epoch):
            continue  # an owner sends nothing more before its registration was acknowledged
        try:
            await _sent(under_test, epoch, sequence, kind)
        except NotFound:
            assert newest is not None
            assert newest[2] == "remove"
            if kind == "remove":  # it is still remembered
                newest = max(newest, (epoch, sequence, kind))
            continue
        except (Late, Fenced):
            assert newest is not None
            assert (epoch, sequence) < newest[:2]
            continue
        newest = max(newest or (0, 0, ""), (epoch, sequence, kind))
        assert newest[:2] == (epoch, sequence), "nothing older than the final write was accepted"
        held = shown(under_test)
        assert (held is None) == (newest[2] == "remove")
        if held is not None:
            assert (held.epoch, held.weight if kind == "register" else held.status) == (
                epoch,
                sequence + 1 if kind == "register" else _status(sequence),
            )


def _status(sequence: int) -> Status:
    return list(Status)[sequence % len(Status)]


async def _sent(tested: StoreUnderTest, epoch: int, sequence: int, kind: str) -> None:
    match kind:
        case "register":
            wanted = msgspec.structs.replace(claim(epoch=epoch), weight=sequence + 1)
            await tested.store.register(wanted, sequence=sequence)
        case "status":
            await tested.store.set_status(KEY, _status(sequence), epoch, sequence=sequence)
        case _:
            await tested.store.deregister(KEY, epoch, sequence=sequence)
