"""What DNS has of an instance, and under which label DNS-SD lists it."""

from __future__ import annotations

import pytest

from dns.codec import Type
from dns.instance_records import addresses, distinct, has_records, instance_label, transport_of
from registry_core.domain.names import short_id
from registry_core.domain.records import Protocol
from tests.samples import instance

BOTH = instance(host="ip-intel-1")  # 10.0.1.7 and 2001:db8::1:7
NAMED = instance(host="db.corp.example", addresses=())


def test_addresses_are_of_the_type_that_is_asked_for() -> None:
    assert list(addresses([BOTH, NAMED], Type.A)) == [bytes((10, 0, 1, 7))]
    assert [len(data) for data in addresses([BOTH, NAMED], Type.AAAA)] == [16]
    assert [has_records(NAMED, qtype) for qtype in (Type.A, Type.AAAA, Type.SRV, Type.TXT)] == [
        False,
        False,
        True,
        True,
    ]


def test_the_first_few_items_are_each_taken_once() -> None:
    assert distinct([b"a", b"b", b"a", b"c"], 2) == [b"a", b"b"]


def test_udp_alone_is_udp() -> None:
    assert {transport_of(one) for one in Protocol if one is not Protocol.UDP} == {b"_tcp"}
    assert transport_of(Protocol.UDP) == b"_udp"


@pytest.mark.parametrize("id_", ["10.0.0.7:8034", "web-1", "x" * 63])
def test_an_id_that_fits_a_label_is_the_label(id_: str) -> None:
    assert instance_label(instance(instance_id=id_)) == id_.encode()


@pytest.mark.parametrize("id_", ["Web-1", "x" * 64, "i-0123456789ab"])
def test_any_other_id_is_listed_by_its_digits(id_: str) -> None:
    assert instance_label(instance(instance_id=id_)) == f"i-{short_id('ip_intel', id_)}".encode()
