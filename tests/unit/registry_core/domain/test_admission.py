"""Ownership of a name, an id and an address: the claims that are accepted, and the instances that give way."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from registry_core.domain.admission import Newcomer, admitted
from registry_core.domain.catalog import Catalog
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.records import InstanceKey, Protocol, Registration, Status
from registry_core.errors import Conflict, Fenced
from tests.samples import claim, instance, lived

TERMS = LeaseTerms()


NEVER_OVERDUE = frozenset[InstanceKey]()


def admit(
    wanted: Registration,
    catalog: Catalog,
    overdue: frozenset[InstanceKey] = NEVER_OVERDUE,
    *,
    silent_s: float = 0.0,
    may_displace: bool = True,
    passing: bool = False,
) -> Any:
    def remaining_s(key: InstanceKey) -> float:
        return -1.0 if key in overdue else TERMS.ttl_s - silent_s

    newcomer = Newcomer(may_displace=may_displace, passing=passing)
    return admitted(wanted, catalog, remaining_s, now=100.0, terms=TERMS, newcomer=newcomer)


def holding(*records: Any) -> Catalog:
    catalog = Catalog()
    catalog.merge(lived(r) for r in records)
    return catalog


def test_a_first_registration_creates_a_record() -> None:
    admission = admit(claim(epoch=5), Catalog())
    assert (admission.created, admission.changed, admission.evicted) == (True, True, ())
    assert admission.instance.registered_at == 100.0
    assert admission.instance.epoch == 5


def test_the_same_registration_again_changes_nothing() -> None:
    first = admit(claim(), Catalog()).instance
    again = admit(claim(), holding(first))
    assert (again.created, again.changed) == (False, False)
    assert again.instance == first


def test_another_record_under_the_same_id_replaces_it_and_keeps_its_age() -> None:
    first = msgspec.structs.replace(admit(claim(), Catalog()).instance, registered_at=1.0)
    again = admit(claim(version="2.0.0"), holding(first))
    assert (again.created, again.changed) == (False, True)
    assert again.instance.registered_at == 1.0


def test_another_spelling_of_a_name_is_a_conflict() -> None:
    with pytest.raises(Conflict) as refusal:
        admit(claim("ip-intel", port=9000), holding(instance("ip_intel")))
    assert refusal.value.field == "service_name"
    assert refusal.value.example == "ip_intel"


@pytest.mark.parametrize("other", [{"service_name": "billing"}, {"instance_id": "other"}])
def test_an_address_belongs_to_one_instance(other: dict[str, Any]) -> None:
    with pytest.raises(Conflict) as refusal:
        admit(claim(**other), holding(instance()))
    assert refusal.value.field == "port"
    assert refusal.value.provided == "10.0.0.7:8034"


def test_an_overdue_suspect_or_critical_holder_gives_up_its_address() -> None:
    overdue = instance()
    admission = admit(claim("billing"), holding(overdue), frozenset({overdue.key}))
    assert admission.evicted == (overdue.key,)
    suspect = instance(suspect=True)
    assert admit(claim("billing"), holding(suspect)).evicted == (suspect.key,)
    critical = instance(status=Status.CRITICAL)
    assert admit(claim("billing"), holding(critical)).evicted == (critical.key,)


def test_a_caller_without_the_right_to_displace_takes_over_silent_and_own_instances() -> None:
    critical = instance(status=Status.CRITICAL)
    with pytest.raises(Conflict):
        admit(claim("billing"), holding(critical), may_displace=False)
    own = admit(claim(instance_id="new"), holding(critical), may_displace=False)
    assert own.evicted == (critical.key,)
    suspect = instance(suspect=True)
    assert admit(claim("billing"), holding(suspect), may_displace=False).evicted == (suspect.key,)
    overdue = instance()
    admission = admit(claim("billing"), holding(overdue), frozenset({overdue.key}), may_displace=False)
    assert admission.evicted == (overdue.key,)


def test_an_older_epoch_is_fenced_off_and_a_newer_one_takes_over() -> None:
    held = holding(instance(epoch=7))
    with pytest.raises(Fenced) as refusal:
        admit(claim(epoch=6), held)
    assert refusal.value.example == 7
    assert admit(claim(epoch=8), held).instance.epoch == 8


def test_a_suspect_that_registers_again_is_a_changed_record_and_no_longer_suspect() -> None:
    admission = admit(claim(), holding(admit(claim(), holding()).instance))
    assert not admission.changed
    suspect = msgspec.structs.replace(admission.instance, suspect=True)
    back = admit(claim(), holding(suspect))
    assert (back.changed, back.created, back.instance) == (True, False, admission.instance)


def test_a_write_without_an_epoch_does_not_fence() -> None:
    assert admit(claim(), holding(instance(epoch=7))).instance.epoch == 7


# -- conflicts are by address


BY_NAME: dict[str, Any] = {"addresses": ("172.18.0.5", "fd00::5")}


@pytest.mark.parametrize(
    "other",
    [
        {"host": "172.18.0.5", "addresses": ("172.18.0.5",)},
        {"host": "172.18.0.5"},
        {"host": "fd00::5", "addresses": ("fd00::5",)},
        {"host": "orders-1.prod.example", "addresses": ("fd00::5",)},
        {"host": "orders-1.prod.example", "addresses": ("10.0.0.9", "172.18.0.5")},
    ],
)
@pytest.mark.parametrize("service", ["orders", "billing"])
def test_an_address_belongs_to_one_instance_under_any_host(service: str, other: dict[str, Any]) -> None:
    by_name: dict[str, Any] = {"service_name": "orders", "host": "orders_1", **BY_NAME}
    by_other = {"service_name": service, **other}
    for held, wanted in ((by_name, by_other), (by_other, by_name)):
        with pytest.raises(Conflict, match="registered as instance") as refusal:
            admit(claim(**wanted), holding(instance(**held)))
        assert refusal.value.holder == instance(**held).holder
        assert str(instance(**held).holder) in str(refusal.value), "it names the address that both have"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"host": "172.18.0.5", "port": 8035}, id="another port"),
        pytest.param({"host": "172.18.0.5", "protocol": Protocol.UDP}, id="over UDP"),
        pytest.param({"host": "172.18.0.6"}, id="another address"),
        pytest.param({"host": "web-2", "addresses": ("127.0.1.1", "169.254.0.1", "fe80::1", "::1")}, id="local"),
    ],
)
def test_what_shares_no_socket_is_no_conflict(other: dict[str, Any]) -> None:
    held = instance("orders", "web-1", addresses=("172.18.0.5", "127.0.1.1", "169.254.0.1", "fe80::1", "::1"))
    assert admit(claim("billing", **other), holding(held)).evicted == ()


def test_localhost_and_its_address_are_one() -> None:
    held = instance("orders", "localhost", addresses=("127.0.0.1", "::1"))
    for host in ("127.0.0.1", "::1"):
        with pytest.raises(Conflict):
            admit(claim("billing", host, addresses=(host,)), holding(held))


def test_an_instance_takes_over_its_own_address_under_another_host() -> None:
    held = instance("orders", "orders_1", instance_id="orders-1", **BY_NAME)
    again = admit(claim("orders", "172.18.0.5", instance_id="orders-1"), holding(held))
    assert (again.created, again.changed, again.evicted) == (False, True, ())


def test_two_that_an_earlier_release_let_share_an_address_may_both_register_again() -> None:
    one = instance("orders", "orders_1", **BY_NAME)
    other = instance("billing", "172.18.0.5")
    for held in (one, other):
        assert admit(claim(held.service_name, held.host, addresses=held.addresses), holding(one, other)).evicted == ()


def test_every_holder_of_the_addresses_of_a_newcomer_is_displaced() -> None:
    holders = [instance("billing", "172.18.0.5"), instance("geo_ip", "fd00::5")]
    newcomer = claim("orders", "orders_1", **BY_NAME)
    with pytest.raises(Conflict, match="geo-ip"):
        admit(newcomer, holding(*holders), frozenset({holders[0].key}))
    both = frozenset(holder.key for holder in holders)
    assert set(admit(newcomer, holding(*holders), both).evicted) == both


def test_a_host_name_that_moved_takes_the_address_of_another_host_name() -> None:
    """Containers that swap their addresses: neither would leave its own before it had the other's."""
    one = instance("orders", "orders_1", addresses=("172.18.0.5",))
    other = instance("billing", "billing_1", addresses=("172.18.0.6",))
    moved = claim("orders", "orders_1", addresses=("172.18.0.6",))
    admission = admit(moved, holding(one, other))
    assert admission.evicted == (other.key,)
    back = claim("billing", "billing_1", addresses=("172.18.0.5",))
    assert admit(back, holding(admission.instance)).created, "the other one is free by then"
    with pytest.raises(Conflict):
        admit(moved, holding(other))
    with pytest.raises(Conflict):
        admit(moved, holding(one, other), may_displace=False)
    with pytest.raises(Conflict):
        admit(moved, holding(one, instance("billing", "172.18.0.6")))


# -- silent holders


def test_a_holder_that_missed_a_heartbeat_gives_way_to_a_newcomer_whose_check_passes() -> None:
    holder = instance()
    for silent_s, passing, gives_way in (
        (TERMS.missed_after_s, True, False),
        (TERMS.missed_after_s + 0.1, True, True),
        (TERMS.missed_after_s + 0.1, False, False),
        (TERMS.ttl_s, False, False),
        (TERMS.ttl_s + 0.1, False, True),
    ):
        if gives_way:
            admission = admit(claim("billing"), holding(holder), silent_s=silent_s, passing=passing)
            assert admission.evicted == (holder.key,)
        else:
            with pytest.raises(Conflict):
                admit(claim("billing"), holding(holder), silent_s=silent_s, passing=passing)


def test_a_heartbeat_that_is_asked_for_less_often_than_the_ttl_is_missed_with_the_ttl() -> None:
    assert LeaseTerms(ttl_s=60.0, heartbeat_s=30.0).missed_after_s == 35.0
    assert LeaseTerms(ttl_s=60.0, heartbeat_s=59.0).missed_after_s == 60.0


def test_a_late_holder_of_another_service_stays_where_the_caller_may_not_displace_it() -> None:
    late_s = TERMS.missed_after_s + 1
    with pytest.raises(Conflict):
        admit(claim("billing"), holding(instance()), silent_s=late_s, passing=True, may_displace=False)
    own = admit(claim(instance_id="new"), holding(instance()), silent_s=late_s, passing=True, may_displace=False)
    assert own.evicted == (instance().key,)


@pytest.mark.parametrize(("passing", "wait_s"), [(True, 25.0), (False, 50.0)])
def test_a_refusal_says_when_the_holder_will_give_way(passing: bool, wait_s: float) -> None:
    with pytest.raises(Conflict) as refusal:
        admit(claim("billing"), holding(instance()), silent_s=10.0, passing=passing)
    assert refusal.value.retry_after_s == pytest.approx(wait_s)


def test_a_fenced_owner_is_told_where_the_newer_one_is() -> None:
    newer = instance("orders", "orders_2", instance_id="orders", epoch=7, addresses=("10.0.0.9",))
    with pytest.raises(Fenced, match=r"epoch 7\), at orders_2:8034 \(10\.0\.0\.9\)") as refusal:
        admit(claim("orders", instance_id="orders", epoch=6), holding(newer))
    assert refusal.value.holder == newer.holder
