"""Registrations: the rules of each field, and ownership."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from registry_core.domain.catalog import Catalog
from registry_core.domain.names import MAX_INSTANCE_ID_LENGTH
from registry_core.domain.records import Instance, InstanceKey, Protocol, Registration, Status
from registry_core.domain.registration import (
    MAX_ADDRESSES,
    MAX_EPOCH,
    MAX_HEALTH_ENDPOINT_LENGTH,
    MAX_TAGS,
    MAX_VERSION_LENGTH,
    Rules,
    admitted,
    check_metadata,
    checked,
)
from registry_core.errors import Conflict, Fenced, ValidationError
from registry_core.watch.limits import MAX_RECORD_BYTES
from tests.samples import claim, instance, lived


def nested(depth: int) -> dict[str, Any]:
    """Return `depth` nested mappings."""
    inner: dict[str, Any] = {}
    for _ in range(depth - 1):
        inner = {"k": inner}
    return inner


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"service_name": "X"}, "service_name"),
        ({"port": 0}, "port"),
        ({"port": -1}, "port"),
        ({"port": 65536}, "port"),
        ({"port": 80}, "port"),
        ({"host": "a b"}, "host"),
        ({"instance_id": "a/b"}, "instance_id"),
        ({"instance_id": ""}, "instance_id"),
        ({"instance_id": "a" * 260}, "instance_id"),
        ({"health_endpoint": "health"}, "health_endpoint"),
        ({"health_endpoint": "//evil.example/health"}, "health_endpoint"),
        ({"health_endpoint": "/../etc"}, "health_endpoint"),
        ({"health_endpoint": "/a/%2e%2e/b"}, "health_endpoint"),
        ({"health_endpoint": "/a/.."}, "health_endpoint"),
        ({"health_endpoint": "/a\r\nX: y"}, "health_endpoint"),
        ({"health_endpoint": "/a b"}, "health_endpoint"),
        ({"health_endpoint": "/caf\u00e9"}, "health_endpoint"),
        ({"health_endpoint": "/a#b"}, "health_endpoint"),
        ({"health_endpoint": "/a\\b"}, "health_endpoint"),
        ({"health_endpoint": "/" + "a" * 512}, "health_endpoint"),
        ({"version": "1.4"}, "version"),
        ({"version": "v1.4.2"}, "version"),
        ({"version": "1.04.2"}, "version"),
        ({"weight": 0}, "weight"),
        ({"weight": 101}, "weight"),
        ({"zone": "-"}, "zone"),
        ({"zone": "z" * 64}, "zone"),
        ({"epoch": -1}, "epoch"),
        ({"epoch": 2**53}, "epoch"),
        ({"tags": ("Canary",)}, "tags"),
        ({"tags": ("a.b",)}, "tags"),
        ({"tags": ("-a",)}, "tags"),
        ({"tags": tuple(f"t{i}" for i in range(33))}, "tags"),
        ({"addresses": ("vertice-osint",)}, "addresses"),
        ({"addresses": ("0.0.0.0",)}, "addresses"),
        ({"addresses": tuple(f"10.0.0.{i}" for i in range(17))}, "addresses"),
        ({"metadata": {"k": "a\x00b"}}, "metadata.k"),
        ({"metadata": {"a\nb": 1}}, "metadata"),
        ({"metadata": {"k": ["a\x1b[2J"]}}, "metadata.k"),
        ({"metadata": nested(6)}, "metadata.k.k.k.k.k"),
        ({"metadata": {"k": "x" * 8192}}, "metadata"),
        ({"metadata": {str(i): i for i in range(257)}}, "metadata"),
    ],
)
def test_a_field_that_breaks_a_rule_is_named_with_an_example(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        checked(msgspec.structs.replace(claim(), **wrong))
    assert refusal.value.field == field
    assert refusal.value.message
    assert refusal.value.example is not None


def test_hostile_nesting_meets_our_limit_before_pythons() -> None:
    with pytest.raises(ValidationError):
        check_metadata(nested(50_000))


def test_the_lowest_port_is_a_setting() -> None:
    assert checked(claim(port=80), Rules(min_port=1)).port == 80


def test_a_good_claim_is_kept_in_its_one_spelling() -> None:
    kept = checked(
        claim(
            host="Vertice-OSINT",
            addresses=("10.0.0.7", "2001:DB8:0::7", "10.0.0.7"),
            tags=("eu", "canary", "eu"),
            metadata=nested(5),
            health_endpoint="/health?deep=1",
            version="1.4.2-rc.1+build.5",
            epoch=0,
        )
    )
    assert kept.host == "vertice-osint"
    assert kept.addresses == ("10.0.0.7", "2001:db8::7")
    assert kept.tags == ("canary", "eu")


NEVER_OVERDUE = frozenset[InstanceKey]()


def admit(
    wanted: Registration,
    catalog: Catalog,
    overdue: frozenset[InstanceKey] = NEVER_OVERDUE,
    *,
    may_displace: bool = True,
) -> Any:
    return admitted(wanted, catalog, overdue.__contains__, now=100.0, may_displace=may_displace)


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


@pytest.mark.parametrize("length", [MAX_VERSION_LENGTH, MAX_VERSION_LENGTH + 1, 60_000])
def test_a_version_is_bounded(length: int) -> None:
    version = "1.0.0-" + "x" * (length - 6)
    if length <= MAX_VERSION_LENGTH:
        assert checked(claim(version=version)).version == version
        return
    with pytest.raises(ValidationError, match="at most 128 characters") as refused:
        checked(claim(version=version))
    assert refused.value.field == "version"
    assert len(str(refused.value.provided)) <= 200


def test_the_largest_record_that_the_rules_allow_is_a_quarter_of_what_a_line_may_hold() -> None:
    """If this fails, a new field may lack a limit: the claim below has every field at its largest."""
    label = "x" * 63
    host = ".".join([label, label, label, "y" * 61])
    largest = Registration(
        service_name="s" * 63,
        instance_id="i" * MAX_INSTANCE_ID_LENGTH,
        host=host,
        port=65535,
        addresses=tuple(f"2001:db8:1111:2222:3333:4444:5555:{n:04x}" for n in range(0x1000, 0x1000 + MAX_ADDRESSES)),
        health_endpoint="/" + "h" * (MAX_HEALTH_ENDPOINT_LENGTH - 1),
        protocol=Protocol.HTTPS,
        version="1.0.0-" + "x" * (MAX_VERSION_LENGTH - 6),
        weight=100,
        tags=tuple(f"{n:02}" + "t" * 61 for n in range(MAX_TAGS)),
        metadata={"k": "m" * (8192 - 8)},
        zone="z" * 63,
        status=Status.MAINTENANCE,
        epoch=MAX_EPOCH,
    )
    record = admitted(checked(largest), Catalog(), lambda _: False, 1e10).instance
    assert {f for f in Instance.__struct_fields__ if getattr(record, f) == getattr(instance(), f)} == {"suspect"}
    assert len(msgspec.json.encode(record)) <= MAX_RECORD_BYTES // 4
    with pytest.raises(ValidationError):
        checked(msgspec.structs.replace(largest, metadata={"k": "m" * (8192 - 7)}))
