"""Reverse names of the registered addresses: the services that have them."""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dns import codec
from dns.codec import Answer, Query, Rcode, Record, Type
from dns.record_data import name_data, name_of
from dns.reverse import address_of, read_reverse_names
from registry_core.domain.names import canonical_ip
from registry_core.domain.records import Status
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, ask, data, extended_errors, parsed, question, rcode, responder

V6 = "2001:db8::1"
ONE = instance("ip_intel", "10.0.0.1", addresses=("10.0.0.1", V6))
SAME = instance("billing", "10.0.0.1", port=9000)
TWICE = instance("billing", "10.0.0.1", port=9001)


class Theirs:
    """Resolvers that know one name for every address, or none."""

    def __init__(self, name: str = "", rcode: Rcode = Rcode.NOERROR) -> None:
        self.name, self.rcode = name, rcode
        self.asked: list[str] = []

    def answer(self, query: Query, message: bytes, asker: Hashable = None) -> Answer:
        assert (codec.read(message), asker) == (query, ("127.0.0.1", 0))
        self.asked.append(".".join(label.decode() for label in query.name))
        records = (Record(None, Type.PTR, 60, name_data(name_of(self.name))),) if self.name else ()
        return Answer(self.rcode, authoritative=False, answers=records)


def reverse(ip: str) -> str:
    return ipaddress.ip_address(ip).reverse_pointer


@pytest.mark.parametrize("name", [reverse("10.0.0.1"), reverse(V6), reverse(V6).upper(), "1.0.0.10.IN-ADDR.arpa"])
def test_the_address_of_an_instance_leads_to_its_service(name: str) -> None:
    answer = ask(responder(StandingView([ONE])), name, "PTR")
    assert (rcode(answer), data(answer), answer.header.aa) == ("NOERROR", [f"ip-intel.{ZONE}."], 1)
    assert [(str(rr.rname), rr.ttl) for rr in answer.rr] == [(f"{name}.", 5)], "in the spelling of the query"


def test_the_service_leads_back_to_the_address() -> None:
    server = responder(StandingView([ONE]))
    (name,) = data(ask(server, reverse("10.0.0.1"), "PTR"))
    assert data(ask(server, name)) == ["10.0.0.1"]


def test_an_address_of_several_services_leads_to_each_once() -> None:
    server = responder(StandingView([ONE, SAME, TWICE]))
    assert data(ask(server, reverse("10.0.0.1"), "PTR")) == [f"billing.{ZONE}.", f"ip-intel.{ZONE}."]


def test_a_failing_or_leaving_instance_keeps_its_reverse_name() -> None:
    for status in Status:
        server = responder(StandingView([instance(host="10.0.0.1", status=status)]))
        assert data(ask(server, reverse("10.0.0.1"), "PTR")) == [f"ip-intel.{ZONE}."], status


@pytest.mark.parametrize("qtype", ["A", "TXT", "SRV", "MX"])
def test_another_type_is_nodata_with_an_soa_at_the_name_itself(qtype: str) -> None:
    """The network's zone belongs to someone else: the SOA may cover only the one name (RFC 2308 section 3)."""
    answer = ask(responder(StandingView([ONE])), reverse("10.0.0.1"), qtype)
    assert (rcode(answer), data(answer), answer.header.aa) == ("NOERROR", [], 1)
    assert [(str(rr.rname), rr.rtype, rr.ttl) for rr in answer.auth] == [(reverse("10.0.0.1") + ".", 6, 5)]


def test_a_single_address_is_a_zone_with_soa_and_ns() -> None:
    server = responder(StandingView([ONE]))
    assert data(ask(server, reverse("10.0.0.1"), "NS")) == [f"ns.{ZONE}."]
    assert len(data(ask(server, reverse("10.0.0.1"), "SOA"))) == 1
    assert [rr.rtype for rr in ask(server, reverse("10.0.0.1"), "ANY").rr] == [12], "one RRset"


@pytest.mark.parametrize(
    "name",
    [
        reverse("10.0.0.2"),
        reverse("2001:db8::2"),
        "0.0.10.in-addr.arpa",  # the network's, which is not ours
        "in-addr.arpa",
        "x.1.0.0.10.in-addr.arpa",
        "01.0.0.10.in-addr.arpa",
        "256.0.0.10.in-addr.arpa",
        "-1.0.0.10.in-addr.arpa",
        "1.0.0.10.ip6.arpa",
        reverse(V6).replace("1.0", "g.0", 1),
        reverse(V6)[2:],
    ],
)
def test_other_reverse_names_are_not_ours(name: str) -> None:
    answer = ask(responder(StandingView([ONE])), name, "PTR", edns=1232)
    assert (rcode(answer), answer.header.aa, extended_errors(answer)) == ("REFUSED", 0, [20])


def test_a_changed_address_is_in_the_next_answer() -> None:
    view = StandingView([SAME])
    server = responder(view)
    assert rcode(ask(server, reverse(V6), "PTR")) == "REFUSED"
    view.put(ONE)
    assert data(ask(server, reverse(V6), "PTR")) == [f"ip-intel.{ZONE}."]
    view.become(SAME)
    assert rcode(ask(server, reverse(V6), "PTR")) == "REFUSED"
    assert data(ask(server, reverse("10.0.0.1"), "PTR")) == [f"billing.{ZONE}."]


# -- whose names come first


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.0.0.9", "::1"])
@pytest.mark.parametrize("words", ["fallback", "all", "127.0.0.0/8,::1/128"])
def test_a_service_on_loopback_gives_localhost_no_other_name(ip: str, words: str) -> None:
    """127.0.0.1 is this machine on each machine, wherever the service runs."""
    here = instance("billing", ip)
    answer = ask(responder(StandingView([here]), reverse=read_reverse_names(words)), reverse(ip), "PTR")
    assert (rcode(answer), data(answer)) == ("REFUSED", [])
    forwarder = Theirs()
    ask(responder(StandingView([here]), forwarder=forwarder, reverse=read_reverse_names(words)), reverse(ip), "PTR")
    assert forwarder.asked == [reverse(ip)], "which has the special names"


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        ("all", ["10.0.0.1", V6]),
        ("none", []),
        ("10.0.0.0/8", ["10.0.0.1"]),
        ("10.1.0.0/16, 2001:db8::/32", [V6]),
        ("fallback", ["10.0.0.1", V6]),  # there are no resolvers to be asked first
    ],
)
def test_the_setting_says_which_addresses_lead_to_services(words: str, ours: list[str]) -> None:
    server = responder(StandingView([ONE]), reverse=read_reverse_names(words))
    for ip in ("10.0.0.1", V6):
        wanted = ("NOERROR", [f"ip-intel.{ZONE}."]) if ip in ours else ("REFUSED", [])
        answer = ask(server, reverse(ip), "PTR")
        assert (rcode(answer), data(answer)) == wanted, ip


@pytest.mark.parametrize("words", ["all", "10.0.0.0/8"])
def test_resolvers_are_not_asked_for_addresses_that_are_ours_at_once(words: str) -> None:
    forwarder = Theirs("host.corp.example")
    server = responder(StandingView([ONE]), forwarder=forwarder, reverse=read_reverse_names(words))
    assert data(ask(server, reverse("10.0.0.1"), "PTR")) == [f"ip-intel.{ZONE}."]
    assert forwarder.asked == []


def test_the_networks_name_comes_first_and_ours_where_it_has_none() -> None:
    server = responder(StandingView([ONE]), forwarder=Theirs("host.corp.example"))
    assert data(ask(server, reverse("10.0.0.1"), "PTR")) == ["host.corp.example."]
    for nothing in (Rcode.NXDOMAIN, Rcode.NOERROR, Rcode.SERVFAIL, Rcode.REFUSED):
        server = responder(StandingView([ONE]), forwarder=Theirs(rcode=nothing))
        answer = ask(server, reverse("10.0.0.1"), "PTR")
        assert (rcode(answer), data(answer), answer.header.aa) == ("NOERROR", [f"ip-intel.{ZONE}."], 1)
        assert rcode(ask(server, reverse("10.0.0.2"), "PTR")) == nothing.name, "which is nobody's here"


def test_a_resolver_that_asks_without_recursion_is_told_what_there_is_here() -> None:
    """It has the network's names itself, and stubs our addresses to us."""
    forwarder = Theirs("host.corp.example")
    query = bytearray(question(reverse("10.0.0.1"), "PTR"))
    query[2] &= 0xFE
    answer = parsed(responder(StandingView([ONE]), forwarder=forwarder).udp(bytes(query)))
    assert (data(answer), forwarder.asked) == ([f"ip-intel.{ZONE}."], [])


@pytest.mark.parametrize("mapped", ["::ffff:10.0.0.1", "::ffff:a00:1"])
def test_an_ipv4_mapped_address_of_an_earlier_release_is_the_ipv4_address(mapped: str) -> None:
    server = responder(StandingView([instance("ip_intel", mapped)]))
    assert data(ask(server, f"ip-intel.{ZONE}")) == ["10.0.0.1"]
    assert data(ask(server, f"ip-intel.{ZONE}", "AAAA")) == []
    for ip in ("10.0.0.1", "::ffff:10.0.0.1"):
        assert data(ask(server, reverse(ip), "PTR")) == [f"ip-intel.{ZONE}."]


def test_an_old_answer_says_so() -> None:
    view = StandingView([ONE])
    server = responder(view)
    view.age(3600)
    answer = ask(server, reverse("10.0.0.1"), "PTR", edns=1232)
    assert (data(answer), extended_errors(answer)) == ([f"ip-intel.{ZONE}."], [3])


@given(st.ip_addresses())
def test_every_address_is_found_by_the_reverse_name_that_python_writes(ip: object) -> None:
    assert address_of(name_of(reverse(str(ip)))) == canonical_ip(str(ip))


@given(st.lists(st.binary(max_size=5), max_size=34), st.sampled_from([b"in-addr", b"ip6", b"x"]))
def test_any_other_labels_are_no_reverse_name(labels: list[bytes], under: bytes) -> None:
    found = address_of((*labels, under, b"arpa"))
    if under == b"ip6" and found is not None:
        found = f"::ffff:{found}" if ":" not in found else found  # an IPv4-mapped address
    assert found is None or reverse(found) == b".".join((*labels, under, b"arpa")).decode()
