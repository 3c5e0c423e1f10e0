"""What the labels below the apex mean, and which of them can mean nothing."""

from __future__ import annotations

import pytest

from dns.zone_names import (
    BrowsedDomains,
    EmptyName,
    InstanceName,
    ListedInstance,
    NameServer,
    ServiceName,
    ServiceTypes,
    TransportOf,
    ZoneName,
    short_of,
    zone_name,
)


def named(text: str) -> ZoneName | None:
    return zone_name(tuple(label.encode() for label in text.split(".")))


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("billing", ServiceName(label="billing")),
        ("ip_intel", ServiceName(label="ip-intel")),
        ("canary.billing", ServiceName(label="billing", tag="canary")),
        ("_billing._tcp", ServiceName(label="billing", transport=b"_tcp", is_type=True)),
        ("_ip_intel._udp", ServiceName(label="ip-intel", transport=b"_udp", is_type=True)),
        ("_billing._tcp.billing", ServiceName(label="billing", transport=b"_tcp")),
        ("_ip-intel._tcp.ip_intel", ServiceName(label="ip-intel", transport=b"_tcp")),
        ("_mongodb._tcp.billing", ServiceName(label="billing", tag="mongodb", transport=b"_tcp")),
        ("_sip._udp.billing", ServiceName(label="billing", tag="sip", transport=b"_udp")),
        ("_tcp.billing", TransportOf("billing", b"_tcp", is_possible=True)),
        ("i-0123456789ab", InstanceName("0123456789ab")),
        ("i-0123456789ag", ServiceName(label="i-0123456789ag")),
        ("ns", NameServer()),
        ("_tcp", EmptyName()),
        ("_udp", EmptyName()),
        ("_dns-sd._udp", EmptyName()),
        ("_services._dns-sd._udp", ServiceTypes()),
        ("b._dns-sd._udp", BrowsedDomains()),
        ("lb._dns-sd._udp", BrowsedDomains()),
        ("web-1._billing._tcp", ListedInstance("web-1", "billing", b"_tcp", is_possible=True)),
    ],
)
def test_each_form_of_a_name_has_one_meaning(text: str, meaning: ZoneName) -> None:
    assert named(text) == meaning


def test_an_instance_id_with_dots_is_one_label() -> None:
    found = zone_name((b"10.0.0.7:8034", b"_billing", b"_tcp"))
    assert found == ListedInstance("10.0.0.7:8034", "billing", b"_tcp", is_possible=True)


@pytest.mark.parametrize(
    "text",
    [
        "billing.vertice.internal",
        "a.b.c",
        "a.b.c.d",
        "x._sub._billing._tcp",
        "r._dns-sd._udp",
        "_._tcp.billing",
        "caf\u00e9",
    ],
)
def test_a_name_that_no_rule_makes_has_no_meaning(text: str) -> None:
    assert named(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "db",
        "-billing",
        "_billing",
        "bil$ling",
        "*",
        "billing._tcp",
        "canary.db",
        "-canary.billing",
        "can_ary.billing",
        "x.i-0123456789ab",
        "_db._tcp",
        "_-x._tcp.billing",
        "_tcp.db",
        "web-1._db._tcp",
    ],
)
def test_a_name_that_no_registry_accepts_is_known_to_be_none(text: str) -> None:
    found = named(text)
    assert isinstance(found, ServiceName | TransportOf | ListedInstance)
    assert not found.is_possible


def test_a_short_id_has_twelve_digits() -> None:
    assert short_of("i-0123456789ab") == "0123456789ab"
    assert [short_of(text) for text in ("i-0123456789a", "i-0123456789abc", "x-0123456789ab")] == [None] * 3
