"""Names with a fixed meaning: answered here, and never forwarded."""

from __future__ import annotations

import pytest

from dns.codec import CLASS_IN, Answer, Query, Rcode, Type
from dns.record_data import name_data, name_of
from dns.special_names import TTL_S, special

LOOPBACK_6 = "1." + "0." * 31 + "ip6.arpa"


def asked(name: str, qtype: int = Type.A) -> Answer | None:
    labels = name_of(name)
    return special(Query(1, 0, labels, qtype, CLASS_IN, b"", None), labels)


def answered(name: str, qtype: int = Type.A) -> Answer:
    answer = asked(name, qtype)
    assert answer is not None
    assert not answer.authoritative
    assert all(record.ttl_s == TTL_S for record in (*answer.answers, *answer.authority))
    return answer


@pytest.mark.parametrize("name", ["localhost", "a.localhost", "a.b.localhost"])
def test_localhost_and_all_names_below_it_are_this_machine(name: str) -> None:
    (four,) = answered(name, Type.A).answers
    assert (four.owner, four.type, four.data) == (None, Type.A, bytes([127, 0, 0, 1]))
    (six,) = answered(name, Type.AAAA).answers
    assert (six.owner, six.type, six.data) == (None, Type.AAAA, bytes(15) + b"\1")


@pytest.mark.parametrize("qtype", [Type.TXT, Type.SRV, Type.SOA, Type.NS, 65, 65535])
def test_localhost_has_nothing_but_addresses(qtype: int) -> None:
    answer = answered("a.localhost", qtype)
    assert (answer.rcode, answer.answers) == (Rcode.NOERROR, ())
    assert [(record.owner, record.type) for record in answer.authority] == [((b"localhost",), Type.SOA)]


@pytest.mark.parametrize(("name", "type_"), [("localhost", Type.A), (LOOPBACK_6, Type.PTR)])
def test_any_is_answered_with_one_rrset_that_is_there(name: str, type_: Type) -> None:
    assert [record.type for record in answered(name, Type.ANY).answers] == [type_]


@pytest.mark.parametrize("zone", ["invalid", "onion", "alt"])
@pytest.mark.parametrize("below", ["", "a.", "a.b."])
def test_names_that_are_never_in_dns_do_not_exist(zone: str, below: str) -> None:
    answer = answered(below + zone, Type.AAAA)
    assert (answer.rcode, answer.answers) == (Rcode.NXDOMAIN, ())
    assert [(record.owner, record.type) for record in answer.authority] == [((zone.encode(),), Type.SOA)]


@pytest.mark.parametrize("name", ["1.0.0.127.in-addr.arpa", LOOPBACK_6])
def test_the_addresses_of_this_machine_are_localhost(name: str) -> None:
    (record,) = answered(name, Type.PTR).answers
    assert (record.owner, record.type, record.data) == (None, Type.PTR, name_data((b"localhost",)))


@pytest.mark.parametrize("name", ["1.0.0.127.in-addr.arpa", LOOPBACK_6])
def test_the_addresses_of_this_machine_have_only_a_name(name: str) -> None:
    answer = answered(name, Type.A)
    assert (answer.rcode, answer.answers) == (Rcode.NOERROR, ())
    assert [record.owner for record in answer.authority] == [name_of(name)]


@pytest.mark.parametrize("name", ["2.0.0.127.in-addr.arpa", "x.1.0.0.127.in-addr.arpa", "1.127.in-addr.arpa"])
def test_other_addresses_of_the_loopback_network_have_no_name(name: str) -> None:
    answer = answered(name, Type.PTR)
    assert answer.rcode is Rcode.NXDOMAIN
    assert [record.owner for record in answer.authority] == [name_of("127.in-addr.arpa")]


@pytest.mark.parametrize("name", ["127.in-addr.arpa", "0.127.in-addr.arpa", "0.0.127.in-addr.arpa"])
def test_a_name_above_that_of_this_machine_exists_without_records(name: str) -> None:
    answer = answered(name, Type.PTR)
    assert (answer.rcode, answer.answers) == (Rcode.NOERROR, ())
    assert [record.owner for record in answer.authority] == [name_of("127.in-addr.arpa")]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "example.com",
        "test",
        "a.test",
        "local",
        "printer.local",
        "localhost.example.com",
        "notlocalhost",
        "onion.example",
        "arpa",
        "in-addr.arpa",
        "1.0.0.10.in-addr.arpa",
        "128.in-addr.arpa",
        "127.in-addr.arpa.example",
        "0" + LOOPBACK_6[1:],
        LOOPBACK_6[2:],
        "x." + LOOPBACK_6,
        "home.arpa",
    ],
)
def test_any_other_name_is_forwarded(name: str) -> None:
    assert asked(name, Type.PTR) is None
    assert asked(name, Type.A) is None
