"""DNS-SD (RFC 6763): from the domain to the types, to the instances, to host, port and text of each.

And what clients find that look up a protocol below a host name: `_mongodb._tcp.<service>`.
"""

from __future__ import annotations

from typing import Any

import dnslib
import pytest

from dns.responder import Responder
from registry_core.domain.names import short_id
from registry_core.domain.records import Instance, Protocol, Status
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, ask, data, parsed, rcode, responder

APEX = tuple(label.encode() for label in ZONE.split("."))
ONE = instance(host="10.0.0.1", version="1.4", metadata={"path": "/app"}, tags=("mongodb",), weight=4)
TWO = instance(host="10.0.0.2", instance_id="Web-2")
LEAVES = instance(host="10.0.0.3", instance_id="old", status=Status.DRAINING)
FAILS = instance(host="10.0.0.4", instance_id="bad", status=Status.CRITICAL)
SYSLOG = instance("syslog", "10.0.0.9", 5140, protocol=Protocol.UDP)

Labels = tuple[bytes, ...]


def short(i: Instance) -> str:
    return f"i-{short_id(i.service_name, i.instance_id)}"


def records(server: Responder, owner: Labels, qtype: str, beside: str = "") -> list[Any]:
    """Return the records of a name given by its labels, one of which may hold dots.

    With `beside`, return those of that type among the additional records instead.
    """
    question = dnslib.DNSRecord(
        dnslib.DNSHeader(id=7, rd=1), q=dnslib.DNSQuestion(dnslib.DNSLabel(list(owner)), getattr(dnslib.QTYPE, qtype))
    )
    question.add_ar(dnslib.EDNS0(udp_len=1232))
    answer = parsed(server.udp(bytes(question.pack())))
    found = answer.ar if beside else answer.rr
    return [rr for rr in found if rr.rtype == getattr(dnslib.QTYPE, beside or qtype)]


def labels(rr: Any) -> Labels:
    found: Labels = rr.rdata.label.label
    return found


def browse(server: Responder, *below: bytes) -> list[Labels]:
    return sorted(map(labels, records(server, (*below, *APEX), "PTR")))


@pytest.fixture
def server() -> Responder:
    return responder(StandingView([ONE, TWO, LEAVES, FAILS, SYSLOG]))


def test_a_client_walks_from_the_domain_to_the_address_and_port_of_each_instance(server: Responder) -> None:
    walked: dict[bytes, tuple[str, int, str]] = {}
    for head in (b"b", b"db", b"lb"):
        assert browse(server, head, b"_dns-sd", b"_udp") == [APEX]
    types = browse(server, b"_services", b"_dns-sd", b"_udp")
    assert types == [(b"_ip-intel", b"_tcp", *APEX), (b"_syslog", b"_udp", *APEX)]
    for type_ in types:
        for name in browse(server, *type_[:2]):
            assert name[1:] == type_, "RFC 6763 section 4.1: <Instance> . <Service> . <Domain>"
            (srv,) = records(server, name, "SRV")
            (txt,) = records(server, name, "TXT")
            (address,) = records(server, srv.rdata.target.label, "A")
            assert (srv.rdata.priority, srv.rdata.weight) == (0, 0), "section 5"
            walked[name[0]] = (str(address.rdata), srv.rdata.port, b"|".join(txt.rdata.data).decode())
    assert walked == {
        b"10.0.0.1:8034": ("10.0.0.1", 8034, "version=1.4|path=/app"),
        short(TWO).encode(): ("10.0.0.2", 8034, ""),
        b"old": ("10.0.0.3", 8034, ""),
        b"10.0.0.9:5140": ("10.0.0.9", 5140, ""),
    }


def test_the_list_of_a_few_instances_brings_what_a_client_asks_next(server: Responder) -> None:
    """RFC 6763 section 12.1."""
    type_ = (b"_syslog", b"_udp", *APEX)
    assert [rr.rdata.port for rr in records(server, type_, "PTR", "SRV")] == [5140]
    assert [rr.rdata.data for rr in records(server, type_, "PTR", "TXT")] == [[b""]]
    assert [str(rr.rdata) for rr in records(server, type_, "PTR", "A")] == ["10.0.0.9"]


def test_srv_of_an_instance_brings_its_addresses(server: Responder) -> None:
    owner = (b"10.0.0.1:8034", b"_ip-intel", b"_tcp", *APEX)
    assert [str(rr.rdata) for rr in records(server, owner, "SRV", "A")] == ["10.0.0.1"]
    assert records(server, (b"10.0.0.1:8034", b"_IP_Intel", b"_TCP", *APEX), "SRV"), "in any spelling of the service"


def test_an_instance_that_has_left_srv_is_listed_no_more_and_can_still_be_resolved() -> None:
    view = StandingView([ONE, LEAVES])
    server = responder(view)
    view.leave(LEAVES)
    assert browse(server, b"_ip-intel", b"_tcp") == [(b"10.0.0.1:8034", b"_ip-intel", b"_tcp", *APEX)]
    assert records(server, (b"old", b"_ip-intel", b"_tcp", *APEX), "SRV")


@pytest.mark.parametrize(
    ("id_", "shown"),
    [
        ("10.0.0.1:8034", None),
        ("web-1", None),
        ("[2001:db8::7]:80", None),
        ("Web-1", "short"),
        ("i-0123456789ab", "short"),
        ("x" * 63, None),
        ("x" * 64, "short"),
    ],
)
def test_an_id_that_is_no_label_of_its_own_is_replaced_by_the_short_one(id_: str, shown: str | None) -> None:
    one = instance(instance_id=id_)
    label = short(one) if shown else id_
    server = responder(StandingView([one]))
    assert browse(server, b"_ip-intel", b"_tcp") == [(label.encode(), b"_ip-intel", b"_tcp", *APEX)]
    assert records(server, (label.encode(), b"_ip-intel", b"_tcp", *APEX), "SRV")


def test_a_list_of_many_is_truncated_and_whole_over_tcp() -> None:
    server = responder(StandingView([instance(host=f"10.1.0.{n}") for n in range(200)]))
    answer = ask(server, f"_ip-intel._tcp.{ZONE}", "PTR", edns=1232)
    assert answer.header.tc
    assert not [rr for rr in answer.ar if rr.rtype != 41]
    assert len(ask(server, f"_ip-intel._tcp.{ZONE}", "PTR", tcp=True).rr) == 200


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"nobody._ip-intel._tcp.{ZONE}", "NXDOMAIN"),
        (f"bad._ip-intel._udp.{ZONE}", "NXDOMAIN"),
        (f"old._syslog._udp.{ZONE}", "NXDOMAIN"),
        (f"old._ip-intel._tcp.{ZONE}", "NOERROR"),
        (f"r._dns-sd._udp.{ZONE}", "NXDOMAIN"),
    ],
)
def test_other_names_of_instances_do_not_exist(server: Responder, name: str, expected: str) -> None:
    assert rcode(ask(server, name, "A")) == expected
    assert data(ask(server, name, "A")) == []


# -- a protocol below the name of a service


def srv(server: Responder, name: str) -> list[str]:
    answer = ask(server, name, "SRV")
    assert rcode(answer) in ("NOERROR", "NXDOMAIN")
    return sorted(str(rr.rdata.target).split(".")[0] for rr in answer.rr)


def test_a_protocol_below_a_service_is_the_service_or_its_instances_with_that_tag(server: Responder) -> None:
    assert srv(server, f"_ip-intel._tcp.ip-intel.{ZONE}") == sorted(map(short, (ONE, TWO, LEAVES)))
    assert srv(server, f"_IP_Intel._tcp.ip_intel.{ZONE}") == sorted(map(short, (ONE, TWO, LEAVES)))
    assert srv(server, f"_mongodb._tcp.ip-intel.{ZONE}") == [short(ONE)]
    assert srv(server, f"_syslog._udp.syslog.{ZONE}") == [short(SYSLOG)]


@pytest.mark.parametrize(
    "name", ["_xmpp-client._tcp.ip-intel", "_mongodb._udp.ip-intel", "_syslog._tcp.syslog", "_mongodb._tcp.syslog"]
)
def test_a_protocol_that_nobody_names_is_no_name(server: Responder, name: str) -> None:
    assert rcode(ask(server, f"{name}.{ZONE}", "SRV")) == "NXDOMAIN"


def test_the_name_between_them_exists_and_has_no_records(server: Responder) -> None:
    for name, expected in (("_tcp.ip-intel", "NOERROR"), ("_udp.ip-intel", "NXDOMAIN"), ("_udp.syslog", "NOERROR")):
        answer = ask(server, f"{name}.{ZONE}", "SRV")
        assert (rcode(answer), data(answer)) == (expected, [])


def test_a_protocol_below_a_service_follows_the_changes_of_the_service() -> None:
    view = StandingView([ONE])
    server = responder(view)
    assert srv(server, f"_mongodb._tcp.ip-intel.{ZONE}") == [short(ONE)]
    view.become(TWO)
    assert srv(server, f"_mongodb._tcp.ip-intel.{ZONE}") == []
    view.put(ONE)
    assert srv(server, f"_mongodb._tcp.ip-intel.{ZONE}") == [short(ONE)]


# -- while the catalogue is incomplete


@pytest.mark.parametrize(
    "name",
    [
        f"ip-intel.{ZONE}",  # ndots:5 with `search vertice.internal` makes ip-intel.vertice.internal.vertice.internal
        "ip-intel.default.svc.cluster",
        f"_ip-intel._tcp.{ZONE}",
        "a.b.c",
        "db",
        "x.db",
        "_foo",
        "wrong_tag.ip-intel",
        "x.i-0123456789ab",
        "_x_._tcp.ip-intel",
    ],
)
@pytest.mark.parametrize("age_s", [0.0, 120.0])
def test_names_that_no_catalogue_can_hold_are_denied_while_it_is_incomplete(name: str, age_s: float) -> None:
    view = StandingView([ONE], complete=False)
    view.age(age_s)
    answer = ask(responder(view), f"{name}.{ZONE}", edns=1232)
    assert rcode(answer) == "NXDOMAIN"
    assert [rr.rtype for rr in answer.auth] == [dnslib.QTYPE.SOA]
    assert [o.code for rr in answer.ar for o in rr.rdata] == [], "it is certain, however old the view is"


@pytest.mark.parametrize(
    "name",
    [
        "billing",
        "canary.billing",
        "blue.ip-intel",
        "_billing._tcp",
        "_billing._tcp.billing",
        "_sip._tcp.ip-intel",
        "_tcp.billing",
        "x._billing._tcp",
        "x._ip-intel._tcp",
        "i-0123456789ab",
    ],
)
def test_names_that_may_exist_are_not_denied_while_the_catalogue_is_incomplete(name: str) -> None:
    assert rcode(ask(responder(StandingView([ONE], complete=False)), f"{name}.{ZONE}", "SRV")) == "SERVFAIL"
