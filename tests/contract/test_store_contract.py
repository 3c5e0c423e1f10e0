"""What every store must do. The same tests apply to all of them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from registry_core.domain.catalog import Catalog
from registry_core.domain.events import Deregistered, Expired, Registered, Renewed, StatusChanged
from registry_core.domain.records import InstanceKey, Protocol, Status
from registry_core.errors import Conflict, Fenced, NotFound, StoreUnavailable
from registry_core.ports.store import Beat
from tests.contract.harness import TERMS, StoreUnderTest
from tests.samples import claim

UNKNOWN = InstanceKey("nobody-at-all", "10.9.9.9:9999")


async def state(tested: StoreUnderTest) -> str:
    """Return what two equal states have in common, as the store itself reports it."""
    catalog = Catalog()
    catalog.replace((await tested.store.snapshot()).instances)
    return catalog.digest


# -- registrations


async def test_a_registration_is_delivered_before_it_returns(under_test: StoreUnderTest) -> None:
    grant = await under_test.store.register(claim(version="1.4.2", epoch=3))
    assert grant.created
    assert grant.ttl_s == TERMS.ttl_s
    assert grant.instance.epoch == 3
    assert under_test.feed.catalog.get(grant.instance.key) == grant.instance
    assert [type(e) for e in under_test.feed.events] == [Registered]


async def test_a_repeated_registration_returns_the_same_and_is_no_event(under_test: StoreUnderTest) -> None:
    first = await under_test.store.register(claim())
    again = await under_test.store.register(claim())
    assert again.instance == first.instance
    assert not again.created
    assert [type(e) for e in under_test.feed.changes] == [Registered]


async def test_a_repeated_registration_restarts_the_lease(under_test: StoreUnderTest) -> None:
    await under_test.store.register(claim())
    await under_test.pass_time(50)
    await under_test.store.register(claim())
    await under_test.pass_time(50)
    assert len(under_test.feed.catalog) == 1


async def test_a_changed_registration_replaces_the_record_and_keeps_its_age(under_test: StoreUnderTest) -> None:
    first = await under_test.store.register(claim(version="1.0.0"))
    await under_test.pass_time(5)
    second = await under_test.store.register(claim(version="2.0.0"))
    assert second.instance.registered_at == first.instance.registered_at
    assert len(under_test.feed.catalog) == 1
    held = under_test.feed.catalog.get(second.instance.key)
    assert held is not None
    assert held.version == "2.0.0"


async def test_a_refused_registration_leaves_nothing_behind(under_test: StoreUnderTest) -> None:
    await under_test.store.register(claim("ip_intel", epoch=7))
    before, events = await state(under_test), len(under_test.feed.events)
    for wrong in (
        claim("ip-intel", port=9000),
        claim("billing"),
        claim("ip_intel", instance_id="other"),
        claim(epoch=6),
    ):
        with pytest.raises(Conflict):
            await under_test.store.register(wrong)
    assert await state(under_test) == before
    assert len(under_test.feed.events) == events


async def test_a_name_is_free_again_when_its_last_instance_is_gone(under_test: StoreUnderTest) -> None:
    grant = await under_test.store.register(claim("ip_intel"))
    await under_test.store.deregister(grant.instance.key)
    assert (await under_test.store.register(claim("ip-intel"))).created


async def test_the_address_of_an_overdue_instance_is_taken_over_in_one_step(under_test: StoreUnderTest) -> None:
    old = (await under_test.store.register(claim("ip_intel"))).instance
    await under_test.pass_time(TERMS.ttl_s + 2)
    assert under_test.feed.catalog.get(old.key) is not None, "overdue, and still served"
    new = (await under_test.store.register(claim("billing"))).instance
    assert [type(e) for e in under_test.feed.changes] == [Registered, Deregistered, Registered]
    assert under_test.feed.catalog.find("ip_intel") is None
    assert under_test.feed.catalog.holders(["10.0.0.7:8034"]) == (new,)
    await under_test.pass_time(20)
    assert under_test.feed.catalog.get(new.key) == new, "the old lease does not end the new one"
    assert [type(e) for e in under_test.feed.changes] == [Registered, Deregistered, Registered]


async def test_the_address_of_a_critical_instance_is_taken_over(under_test: StoreUnderTest) -> None:
    old = (await under_test.store.register(claim("ip_intel"))).instance
    await under_test.store.set_status(old.key, Status.CRITICAL)
    new = (await under_test.store.register(claim("ip_intel", instance_id="new"))).instance
    assert list(under_test.feed.catalog) == [new]


TCP = (Protocol.HTTP, Protocol.HTTPS, Protocol.GRPC, Protocol.TCP)


@pytest.mark.parametrize("tcp", TCP)
@pytest.mark.parametrize("udp_first", [True, False])
async def test_a_port_over_tcp_and_over_udp_are_two_sockets(
    under_test: StoreUnderTest, tcp: Protocol, *, udp_first: bool
) -> None:
    both = [claim("sip", instance_id="tcp", protocol=tcp), claim("syslog", instance_id="udp", protocol=Protocol.UDP)]
    for one in both[::-1] if udp_first else both:
        await under_test.store.register(one)
    for one in both:  # each is renewed, and changed, in its own place
        assert not (await under_test.store.register(msgspec.structs.replace(one, version="1.0.0"))).created
    assert {i.instance_id: i.protocol for i in under_test.feed.catalog} == {"tcp": tcp, "udp": Protocol.UDP}
    for protocol, holder in ((tcp, "'tcp' of 'sip'"), (Protocol.UDP, "'udp' of 'syslog'")):
        over = " over UDP" if protocol is Protocol.UDP else ""
        with pytest.raises(Conflict, match=f"10.0.0.7:8034{over} is registered as instance {holder}"):
            await under_test.store.register(claim("billing", instance_id="third", protocol=protocol))
    await under_test.store.deregister(both[0].key)
    await under_test.store.register(claim("billing", instance_id="third", protocol=Protocol.TCP))
    assert {i.instance_id for i in under_test.feed.catalog} == {"udp", "third"}


@pytest.mark.parametrize(("tcp", "other"), list(zip(TCP, TCP[1:] + TCP[:1], strict=True)))
async def test_all_that_is_not_udp_shares_the_ports_of_tcp(
    under_test: StoreUnderTest, tcp: Protocol, other: Protocol
) -> None:
    await under_test.store.register(claim("sip", protocol=tcp))
    with pytest.raises(Conflict):
        await under_test.store.register(claim("billing", protocol=other))


async def test_an_instance_that_changes_its_protocol_leaves_its_old_socket(under_test: StoreUnderTest) -> None:
    own = claim("sip", instance_id="one", protocol=Protocol.UDP)
    await under_test.store.register(own)
    await under_test.store.register(msgspec.structs.replace(own, protocol=Protocol.TCP))
    await under_test.store.register(claim("syslog", protocol=Protocol.UDP))
    with pytest.raises(Conflict):
        await under_test.store.register(claim("billing", protocol=Protocol.TCP))
    await under_test.store.deregister(own.key)
    await under_test.store.register(claim("billing", protocol=Protocol.TCP))


async def test_the_socket_of_an_overdue_instance_is_taken_over_and_the_other_protocols_is_not(
    under_test: StoreUnderTest,
) -> None:
    for name, protocol in (("sip", Protocol.TCP), ("syslog", Protocol.UDP)):
        await under_test.store.register(claim(name, instance_id=name, protocol=protocol))
    await under_test.pass_time(TERMS.ttl_s + 2)
    await under_test.store.register(claim("billing", instance_id="new", protocol=Protocol.UDP))
    assert {i.instance_id for i in under_test.feed.catalog} == {"sip", "new"}


async def test_metadata_about_udp_make_no_udp_service(under_test: StoreUnderTest) -> None:
    """The scripts read the protocol out of the JSON, which may hold the same words elsewhere."""
    words = '","protocol":"udp","'
    said: dict[str, Any] = {"protocol": "udp", words: words}
    first = claim("sip", health_endpoint=f"/{words}", metadata=said, protocol=Protocol.TCP)
    await under_test.store.register(first)
    with pytest.raises(Conflict):
        await under_test.store.register(claim("billing", protocol=Protocol.TCP))
    await under_test.store.register(claim("billing", protocol=Protocol.UDP, metadata={"protocol": "tcp"}))


async def test_a_newer_epoch_fences_the_older_owner_off(under_test: StoreUnderTest) -> None:
    key = (await under_test.store.register(claim(epoch=1))).instance.key
    await under_test.store.register(claim(epoch=2))
    with pytest.raises(Fenced):
        await under_test.store.register(claim(epoch=1))
    with pytest.raises(Fenced):
        await under_test.store.set_status(key, Status.CRITICAL, epoch=1)
    with pytest.raises(Fenced):
        await under_test.store.deregister(key, epoch=1)
    assert [r.outcome for r in await under_test.store.renew([Beat("ip_intel", key.instance_id, 1)])] == ["fenced"]
    held = under_test.feed.catalog.get(key)
    assert held is not None
    assert (held.epoch, held.status) == (2, Status.PASSING)


# -- heartbeats


async def test_heartbeats_keep_an_instance_for_ever(under_test: StoreUnderTest) -> None:
    await under_test.store.register(claim())
    for _ in range(10):
        await under_test.pass_time(TERMS.heartbeat_s)
        results = await under_test.store.renew([Beat("ip_intel", "10.0.0.7:8034")])
        assert [r.outcome for r in results] == ["renewed"]
    assert len(under_test.feed.catalog) == 1
    assert under_test.feed.positions[-1].revision == 1, "renewals have no revision"


async def test_many_heartbeats_have_one_result_each_in_their_order(under_test: StoreUnderTest) -> None:
    await under_test.store.register(claim("ip_intel", port=8001))
    await under_test.store.register(claim("billing", port=8002, epoch=9))
    results = await under_test.store.renew(
        [
            Beat("billing", "10.0.0.7:8002", 8),
            Beat("nobody"),
            Beat("ip-intel"),
            Beat("ip_intel", "another"),
            Beat("billing", "10.0.0.7:8002", 9),
        ]
    )
    assert [r.outcome for r in results] == ["fenced", "unknown", "renewed", "unknown", "renewed"]
    assert results[2].key == InstanceKey("ip-intel", "10.0.0.7:8001")
    assert await under_test.store.renew([]) == []


async def test_a_heartbeat_is_delivered_with_its_time(under_test: StoreUnderTest) -> None:
    key = (await under_test.store.register(claim())).instance.key
    before = under_test.feed.catalog.heartbeat_at(key)
    await under_test.pass_time(10)
    await under_test.store.renew([Beat("ip_intel")])
    assert isinstance(under_test.feed.events[-1], Renewed)
    assert under_test.feed.catalog.heartbeat_at(key) == pytest.approx(before + 10)


async def test_a_heartbeat_without_an_id_renews_the_newest_instance(under_test: StoreUnderTest) -> None:
    await under_test.store.register(claim(port=8001))
    await under_test.pass_time(40)
    newest = (await under_test.store.register(claim(port=8002))).instance
    for _ in range(4):
        await under_test.pass_time(TERMS.heartbeat_s)
        assert [r.key for r in await under_test.store.renew([Beat("ip_intel")])] == [newest.key]
    assert [i.key for i in under_test.feed.catalog] == [newest.key]


# -- statuses and removals


async def test_a_status_is_changed_once(under_test: StoreUnderTest) -> None:
    key = (await under_test.store.register(claim())).instance.key
    for _ in range(2):
        changed = await under_test.store.set_status(key, Status.WARNING)
        assert changed.status is Status.WARNING
    assert [type(e) for e in under_test.feed.changes] == [Registered, StatusChanged]


async def test_a_status_does_not_renew_the_lease(under_test: StoreUnderTest) -> None:
    key = (await under_test.store.register(claim())).instance.key
    await under_test.pass_time(50)
    await under_test.store.set_status(key, Status.WARNING)
    await under_test.pass_time(26)
    assert len(under_test.feed.catalog) == 0


async def test_a_missing_instance_has_no_status_and_cannot_be_removed(under_test: StoreUnderTest) -> None:
    with pytest.raises(NotFound):
        await under_test.store.set_status(UNKNOWN, Status.CRITICAL)
    with pytest.raises(NotFound):
        await under_test.store.deregister(UNKNOWN)
    assert under_test.feed.events == []


async def test_a_deregistered_instance_is_gone_at_once_and_can_come_back(under_test: StoreUnderTest) -> None:
    first = (await under_test.store.register(claim())).instance
    assert await under_test.store.deregister(first.key) == first
    assert len(under_test.feed.catalog) == 0
    assert [r.outcome for r in await under_test.store.renew([Beat("ip_intel")])] == ["unknown"]
    await under_test.pass_time(TERMS.ttl_s + TERMS.grace_s)
    assert [type(e) for e in under_test.feed.changes] == [Registered, Deregistered], "its lease went with it"
    assert (await under_test.store.register(claim())).created


# -- the sweep


async def test_a_silent_instance_is_gone_after_its_ttl_and_grace_and_not_before(under_test: StoreUnderTest) -> None:
    await under_test.store.register(claim())
    await under_test.pass_time(TERMS.ttl_s + TERMS.grace_s - 2 * TERMS.sweep_every_s)
    assert len(under_test.feed.catalog) == 1
    await under_test.pass_time(2 * TERMS.sweep_every_s)
    assert len(under_test.feed.catalog) == 0
    assert [type(e) for e in under_test.feed.changes] == [Registered, Expired]


async def test_a_pause_of_the_sweep_expires_no_live_instance(under_test: StoreUnderTest) -> None:
    await under_test.store.register(claim())
    await under_test.pass_time(10)
    await under_test.pass_time(3600, sweeping=False)
    report = await under_test.store.sweep()
    assert report.expired == ()
    assert report.amnesty_s == pytest.approx(3600)
    await under_test.pass_time(40)
    assert len(under_test.feed.catalog) == 1
    await under_test.pass_time(35)
    assert len(under_test.feed.catalog) == 0


# -- delivery


async def test_revisions_rise_by_one_and_name_one_epoch(under_test: StoreUnderTest) -> None:
    key = (await under_test.store.register(claim())).instance.key
    await under_test.store.set_status(key, Status.CRITICAL)
    await under_test.store.register(claim("billing"))  # a takeover: two events
    await under_test.store.deregister(InstanceKey("billing", "10.0.0.7:8034"))
    positions = under_test.feed.positions
    assert [p.revision for p in positions] == list(range(1, 6))
    assert len({(p.shard, p.epoch) for p in positions}) == 1


async def test_delivered_events_add_up_to_the_snapshot(under_test: StoreUnderTest) -> None:
    assert len(under_test.feed.resets) == 1
    for port in range(8001, 8021):
        await under_test.store.register(claim(f"service-{port % 10}", port=port))
    await under_test.store.renew([Beat("service-1")])
    await under_test.store.set_status(InstanceKey("service-2", "10.0.0.7:8002"), Status.DRAINING)
    await under_test.store.deregister(InstanceKey("service-3", "10.0.0.7:8003"))
    snapshot = await under_test.store.snapshot()
    assert await state(under_test) == under_test.feed.catalog.digest
    assert snapshot.cursor.positions[0] == under_test.feed.positions[-1]
    assert {lived.instance.key: lived.heartbeat_at for lived in snapshot.instances} == {
        i.key: under_test.feed.catalog.heartbeat_at(i.key) for i in under_test.feed.catalog
    }


async def test_concurrent_writes_are_atomic(under_test: StoreUnderTest) -> None:
    """Fifty callers want one address with fifty ids: one gets it, and each answer is true."""
    results = await asyncio.gather(
        *(under_test.store.register(claim(instance_id=f"i{n}")) for n in range(50)), return_exceptions=True
    )
    granted = [r for r in results if not isinstance(r, BaseException)]
    assert len(granted) == 1
    assert all(isinstance(r, Conflict) for r in results if isinstance(r, BaseException))
    assert [i.key for i in under_test.feed.catalog] == [granted[0].instance.key]


async def test_a_record_is_stored_completely(under_test: StoreUnderTest) -> None:
    whole = claim(
        addresses=("10.0.0.7", "2001:db8::7"),
        tags=("canary", "eu"),
        metadata={"deep": {"list": [1, 2.5, None, True, "\u00e9"]}},
        zone="z1",
        version="1.4.2",
        weight=42,
        health_endpoint="/health?deep=1",
        status=Status.WARNING,
    )
    stored = (await under_test.store.register(whole)).instance
    expected = {**msgspec.structs.asdict(whole), "epoch": 0, "registered_at": stored.registered_at, "suspect": False}
    assert msgspec.structs.asdict(stored) == expected
    assert [lived.instance for lived in (await under_test.store.snapshot()).instances] == [stored]


# -- the end


async def test_a_closed_store_refuses_and_delivers_nothing(under_test: StoreUnderTest) -> None:
    await under_test.store.close()
    await under_test.store.close()
    with pytest.raises(StoreUnavailable):
        await under_test.store.register(claim())
    with pytest.raises(StoreUnavailable):
        await under_test.store.renew([Beat("ip_intel")])
    with pytest.raises(StoreUnavailable):
        await under_test.store.sweep()
    assert under_test.feed.events == []
