"""Ownership of an address, and its passing on, in every store."""

from __future__ import annotations

from typing import Any

import pytest

from registry_core.domain.admission import Newcomer
from registry_core.domain.records import Instance, Protocol, Registration, Status
from registry_core.domain.restoration import RestoreOutcome
from registry_core.errors import Conflict, Fenced
from registry_core.ports.store import Beat
from tests.contract.harness import TERMS, StoreUnderTest
from tests.samples import claim, instance

PASSING = Newcomer(passing=True)
V4, V6, OTHER = "172.18.0.5", "fd00::5", "172.18.0.6"


def by_name(service: str = "orders", host: str = "orders_1", addresses: tuple[str, ...] = (V4, V6), **more: Any) -> Any:
    return claim(service, host, addresses=addresses, **more)


def by_ip(service: str = "orders", ip: str = V4, **more: Any) -> Registration:
    return claim(service, ip, addresses=(ip,), **more)


async def register(under_test: StoreUnderTest, *claims: Registration) -> list[Instance]:
    return [(await under_test.store.register(one)).instance for one in claims]


def shown(under_test: StoreUnderTest) -> set[str]:
    return {one.instance_id for one in under_test.feed.catalog}


@pytest.mark.parametrize("service", ["orders", "billing"])
@pytest.mark.parametrize("ip", [V4, V6])
@pytest.mark.parametrize("name_first", [True, False])
async def test_a_name_and_its_address_are_one_place(
    under_test: StoreUnderTest, service: str, ip: str, name_first: bool
) -> None:
    pair = [by_name(), by_ip(service, ip)]
    first, second = pair if name_first else pair[::-1]
    (holder,) = await register(under_test, first)
    with pytest.raises(Conflict) as refusal:
        await under_test.store.register(second)
    assert refusal.value.holder == holder.holder
    assert list(under_test.feed.catalog) == [holder]
    (again,) = await register(under_test, first)
    assert again == holder
    await under_test.store.deregister(holder.key)
    await register(under_test, second)


async def test_other_ports_protocols_and_addresses_are_other_places(under_test: StoreUnderTest) -> None:
    local = ("127.0.1.1", "169.254.0.1", "::1", "fe80::1")
    ids = {
        one.instance_id
        for one in await register(
            under_test,
            by_name(addresses=(V4, V6, *local)),
            by_name("billing", "web_2", (OTHER, *local)),
            by_ip(port=8035),
            by_ip(protocol=Protocol.UDP, instance_id="udp"),
            by_name("geo_ip", "localhost", local, instance_id="here"),
            by_name("geo_ip", "unresolved", ()),
        )
    }
    assert (len(ids), shown(under_test)) == (6, ids)
    with pytest.raises(Conflict):
        await under_test.store.register(by_ip("search", "127.0.1.1"))


async def test_an_instance_takes_over_its_own_address_and_leaves_its_others(under_test: StoreUnderTest) -> None:
    await register(under_test, by_name(instance_id="one"))
    await register(under_test, by_ip(instance_id="one"))
    assert shown(under_test) == {"one"}
    await register(under_test, by_ip("billing", V6))
    await register(under_test, by_name("geo_ip", "orders_1", ()))
    with pytest.raises(Conflict):
        await under_test.store.register(by_ip("search"))


async def test_all_that_hold_an_address_of_a_newcomer_give_way_or_none(under_test: StoreUnderTest) -> None:
    one, other = await register(under_test, by_ip("billing"), by_ip("geo_ip", V6))
    await under_test.store.set_status(one.key, Status.CRITICAL)
    with pytest.raises(Conflict, match="geo-ip"):
        await under_test.store.register(by_name())
    assert shown(under_test) == {one.instance_id, other.instance_id}
    await under_test.store.set_status(other.key, Status.CRITICAL)
    (newcomer,) = await register(under_test, by_name())
    assert list(under_test.feed.catalog) == [newcomer]


async def test_host_names_that_swap_their_addresses_follow_at_once(under_test: StoreUnderTest) -> None:
    await register(under_test, by_name("orders", "orders_1", (V4,)), by_name("billing", "billing_1", (OTHER,)))
    (moved,) = await register(under_test, by_name("orders", "orders_1", (OTHER,)))
    assert list(under_test.feed.catalog) == [moved]
    (back,) = await register(under_test, by_name("billing", "billing_1", (V4,)))
    assert list(under_test.feed.catalog) == [moved, back]
    assert (moved.addresses, back.addresses) == ((OTHER,), (V4,))


async def test_a_host_name_that_moves_displaces_no_address_and_nobody_without_the_right(
    under_test: StoreUnderTest,
) -> None:
    one, _, other = await register(
        under_test, by_name(addresses=(V6,)), by_ip("billing"), by_name("geo_ip", "g", (OTHER,))
    )
    with pytest.raises(Conflict, match="billing"):
        await under_test.store.register(by_name(addresses=(V4,)))
    moved = by_name(addresses=(OTHER,))
    with pytest.raises(Conflict, match="geo-ip"):
        await under_test.store.register(moved, newcomer=Newcomer(may_displace=False))
    assert under_test.feed.catalog.get(one.key) == one
    await register(under_test, moved)
    assert under_test.feed.catalog.get(other.key) is None


@pytest.mark.parametrize("newcomer", [by_ip("billing"), by_ip("billing", V6), by_name("billing", "billing_1")])
async def test_a_holder_that_missed_a_heartbeat_gives_way_to_a_newcomer_whose_check_passes(
    under_test: StoreUnderTest, newcomer: Registration
) -> None:
    (holder,) = await register(under_test, by_name())
    await under_test.pass_time(10)
    with pytest.raises(Conflict) as refusal:
        await under_test.store.register(newcomer, newcomer=PASSING)
    assert refusal.value.retry_after_s == pytest.approx(TERMS.missed_after_s - 10, abs=0.1)
    assert refusal.value.retry_after_s is not None
    await under_test.pass_time(refusal.value.retry_after_s + 0.1)
    with pytest.raises(Conflict) as refusal:
        await under_test.store.register(newcomer)
    assert refusal.value.retry_after_s == pytest.approx(TERMS.ttl_s - TERMS.missed_after_s, abs=0.3)
    with pytest.raises(Conflict):
        await under_test.store.register(newcomer, newcomer=Newcomer(may_displace=False, passing=True))
    assert list(under_test.feed.catalog) == [holder]
    grant = await under_test.store.register(newcomer, newcomer=PASSING)
    assert list(under_test.feed.catalog) == [grant.instance]


async def test_a_holder_that_is_heard_of_in_time_stays(under_test: StoreUnderTest) -> None:
    (holder,) = await register(under_test, by_name())
    for _ in range(4):
        await under_test.pass_time(TERMS.heartbeat_s)
        await under_test.store.renew([Beat("orders", holder.instance_id)])
        with pytest.raises(Conflict):
            await under_test.store.register(by_ip("billing"), newcomer=PASSING)
    assert list(under_test.feed.catalog) == [holder]


async def test_a_saved_record_takes_no_address_of_another(under_test: StoreUnderTest) -> None:
    (holder,) = await register(under_test, by_name())
    saved = instance("billing", V4, registered_at=1_700_000_000.0)
    await under_test.store.set_status(holder.key, Status.CRITICAL)
    with pytest.raises(Conflict) as refusal:
        await under_test.store.restore(saved)
    assert refusal.value.holder == holder.holder
    await under_test.store.deregister(holder.key)
    assert await under_test.store.restore(saved) is RestoreOutcome.RESTORED
    with pytest.raises(Conflict):
        await under_test.store.register(by_name())


async def test_a_fenced_owner_is_told_where_the_newer_one_is_and_when_that_may_be_gone(
    under_test: StoreUnderTest,
) -> None:
    (newer,) = await register(under_test, by_name(instance_id="one", epoch=7))
    await under_test.pass_time(10)
    older = by_ip(ip=OTHER, instance_id="one", epoch=6)
    with pytest.raises(Fenced, match=r"orders_1:8034 \(172\.18\.0\.5, fd00::5\)") as refusal:
        await under_test.store.register(older)
    assert refusal.value.holder == newer.holder
    assert refusal.value.retry_after_s == pytest.approx(TERMS.removed_after_s - 10, abs=0.1)
    for refused in (
        under_test.store.set_status(newer.key, Status.CRITICAL, 6),
        under_test.store.deregister(newer.key, 6),
    ):
        with pytest.raises(Fenced) as refusal:
            await refused
        assert refusal.value.holder == newer.holder
    await under_test.store.deregister(newer.key, 7)
    with pytest.raises(Fenced) as refusal:
        await under_test.store.set_status(newer.key, Status.CRITICAL, 6)
    assert refusal.value.holder is None, "it is gone"


async def test_another_spelling_of_a_name_is_told_when_to_come_again(under_test: StoreUnderTest) -> None:
    await register(under_test, by_ip("ip_intel"))
    with pytest.raises(Conflict) as refusal:
        await under_test.store.register(by_ip("ip-intel", OTHER))
    assert refusal.value.retry_after_s == TERMS.heartbeat_s
