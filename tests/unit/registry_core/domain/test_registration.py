"""Registrations: the rules of each field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from registry_core.domain.admission import admitted
from registry_core.domain.catalog import Catalog
from registry_core.domain.leases import LeaseTerms
from registry_core.domain.names import MAX_INSTANCE_ID_LENGTH
from registry_core.domain.records import Instance, Protocol, Registration, Status
from registry_core.domain.registration import (
    MAX_ADDRESSES,
    MAX_EPOCH,
    MAX_HEALTH_ENDPOINT_LENGTH,
    MAX_TAGS,
    MAX_VERSION_LENGTH,
    Rules,
    check_metadata,
    checked,
)
from registry_core.errors import Conflict, ValidationError
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
        ({"instance_id": "a" * 264}, "instance_id"),
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
        ({"addresses": ("fe80::1", "fe80::2%eth0")}, "addresses"),
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


def test_of_several_addresses_those_of_one_link_are_left_out() -> None:
    kept = checked(claim(addresses=("fe80::1", "10.0.0.7", "fe80::1%eth0", "::ffff:10.0.0.8", "::ffff:10.0.0.7")))
    assert kept.addresses == ("10.0.0.7", "10.0.0.8")


def test_an_ipv4_mapped_host_has_the_address_and_the_conflicts_of_the_ipv4_host() -> None:
    mapped = checked(claim("billing", host="::ffff:10.0.0.7"))
    assert mapped.address == "10.0.0.7:8034"
    catalog = Catalog()
    catalog.merge([lived(instance("ip_intel", "10.0.0.7"))])
    with pytest.raises(Conflict, match=r"10\.0\.0\.7:8034 is registered"):
        admitted(mapped, catalog, lambda _: 0.0, 0.0, terms=LeaseTerms())


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
        service_name="s" * 62,
        instance_id="i" * MAX_INSTANCE_ID_LENGTH,
        host=host,
        port=65535,
        addresses=tuple(f"2001:db8:1111:2222:3333:4444:5555:{n:04x}" for n in range(0x1000, 0x1000 + MAX_ADDRESSES)),
        health_endpoint="/" + "h" * (MAX_HEALTH_ENDPOINT_LENGTH - 1),
        protocol=Protocol.HTTPS,
        version="1.0.0-" + "x" * (MAX_VERSION_LENGTH - 6),
        weight=100,
        tags=tuple(f"{n:02}" + "t" * 60 for n in range(MAX_TAGS)),
        metadata={"k": "m" * (8192 - 8)},
        zone="z" * 63,
        status=Status.MAINTENANCE,
        epoch=MAX_EPOCH,
    )
    record = admitted(checked(largest), Catalog(), lambda _: 0.0, 1e10, terms=LeaseTerms()).instance
    assert {f for f in Instance.__struct_fields__ if getattr(record, f) == getattr(instance(), f)} == {"suspect"}
    assert len(msgspec.json.encode(record)) <= MAX_RECORD_BYTES // 4
    with pytest.raises(ValidationError):
        checked(msgspec.structs.replace(largest, metadata={"k": "m" * (8192 - 7)}))
