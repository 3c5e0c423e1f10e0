"""The answer for each name and type, parsed by dnslib."""

from __future__ import annotations

import random

import dnslib
import pytest

from registry_core.domain.names import short_id
from registry_core.domain.records import Instance, Protocol, Status
from registry_core.domain.selection import WhenNonePass
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, ask, data, extended_errors, parsed, question, rcode, responder

ONE = instance("ip_intel", "10.0.0.1", addresses=("10.0.0.1", "2001:db8::1"), weight=3, tags=("canary", "eu"))
TWO = instance("ip_intel", "10.0.0.2", weight=7, tags=("eu",))


def short(i: Instance) -> str:
    return f"i-{short_id(i.service_name, i.instance_id)}.{ZONE}."


@pytest.mark.parametrize("name", ["ip_intel", "ip-intel", "IP-Intel", "iP_iNtEl"])
def test_a_service_has_its_addresses_under_either_spelling_in_any_case(name: str) -> None:
    server = responder(StandingView([ONE, TWO]))
    answer = ask(server, f"{name}.{ZONE}")
    assert rcode(answer) == "NOERROR"
    assert data(answer) == ["10.0.0.1", "10.0.0.2"]
    assert {str(rr.rname) for rr in answer.rr} == {f"{name}.{ZONE}."}, "the case of the question is kept"
    assert data(ask(server, f"{name}.{ZONE}", "AAAA")) == ["2001:db8::1"]


def test_the_flags_of_an_answer() -> None:
    header = ask(responder(StandingView([ONE])), f"ip-intel.{ZONE}").header
    assert (header.qr, header.aa, header.tc, header.rd, header.ra) == (1, 1, 0, 1, 0)
    assert header.id == 4711


def test_every_record_lives_for_five_seconds() -> None:
    server = responder(StandingView([ONE]))
    for qtype in ("A", "AAAA", "SRV", "TXT"):
        answer = ask(server, f"ip-intel.{ZONE}", qtype)
        assert {rr.ttl for rr in [*answer.rr, *answer.ar]} == {5}, qtype


@pytest.mark.parametrize("name", ["_ip_intel._tcp", "_ip-intel._tcp", "_IP_Intel._TCP", "ip_intel"])
def test_srv_names_every_instance_with_its_port_and_brings_the_addresses_along(name: str) -> None:
    answer = ask(responder(StandingView([ONE, TWO])), f"{name}.{ZONE}", "SRV", edns=1232)
    assert data(answer) == sorted([f"0 768 8034 {short(ONE)}", f"0 1792 8034 {short(TWO)}"])
    glue = {(str(rr.rname), str(rr.rdata)) for rr in answer.ar if rr.rtype != 41}
    assert glue == {(short(ONE), "10.0.0.1"), (short(ONE), "2001:db8::1"), (short(TWO), "10.0.0.2")}


def test_the_target_of_an_srv_record_is_no_alias() -> None:
    server = responder(StandingView([ONE, TWO]))
    assert data(ask(server, short(ONE))) == ["10.0.0.1"]
    assert data(ask(server, short(ONE), "AAAA")) == ["2001:db8::1"]
    assert rcode(ask(server, f"i-000000000000.{ZONE}")) == "NXDOMAIN"


def test_an_instance_without_addresses_is_found_by_its_host_name() -> None:
    server = responder(StandingView([instance("billing", "db.corp.example", addresses=())]))
    answer = ask(server, f"_billing._tcp.{ZONE}", "SRV")
    assert data(answer) == ["0 256 8034 db.corp.example."]
    assert data(answer, "ar") == []
    nothing = ask(server, f"billing.{ZONE}")
    assert (rcode(nothing), data(nothing)) == ("NOERROR", [])


def test_a_host_that_is_an_address_is_enough() -> None:
    """As an older registry has it: no list of addresses, but a host that is one."""
    record = instance("billing", "10.0.0.3", addresses=())
    server = responder(StandingView([record]))
    answer = ask(server, f"_billing._tcp.{ZONE}", "SRV")
    assert (data(answer), data(answer, "ar")) == ([f"0 256 8034 {short(record)}"], ["10.0.0.3"])
    assert data(ask(server, short(record))) == data(ask(server, f"billing.{ZONE}")) == ["10.0.0.3"]


def test_a_near_instance_has_priority() -> None:
    near, far = instance(host="10.0.0.1", zone="z1"), instance(host="10.0.0.2", zone="z2")
    answer = ask(responder(StandingView([near, far]), local_zone="z1"), f"_ip-intel._tcp.{ZONE}", "SRV")
    assert data(answer) == sorted([f"0 256 8034 {short(near)}", f"10 256 8034 {short(far)}"])
    assert str(answer.rr[0].rdata).startswith("0 "), "and comes first"


def test_udp_services_are_found_under_udp_and_not_under_tcp() -> None:
    syslog = instance("syslog", "10.0.0.1", protocol=Protocol.UDP)
    server = responder(StandingView([syslog, TWO]))
    assert data(ask(server, f"_syslog._udp.{ZONE}", "SRV")) == [f"0 256 8034 {short(syslog)}"]
    assert rcode(ask(server, f"_syslog._tcp.{ZONE}", "SRV")) == "NXDOMAIN"
    assert rcode(ask(server, f"_ip-intel._udp.{ZONE}", "SRV")) == "NXDOMAIN"


def test_a_tag_narrows_a_service() -> None:
    server = responder(StandingView([ONE, TWO]))
    assert data(ask(server, f"canary.ip-intel.{ZONE}")) == ["10.0.0.1"]
    assert data(ask(server, f"EU.ip_intel.{ZONE}")) == ["10.0.0.1", "10.0.0.2"]
    assert rcode(ask(server, f"blue.ip-intel.{ZONE}")) == "NXDOMAIN"


def test_metadata_is_text() -> None:
    record = instance(metadata={"team": "osint", "deep": {"a": 1}, "a=b": 1, "long": "x" * 300}, version="1.4.2")
    answer = ask(responder(StandingView([record])), f"ip-intel.{ZONE}", "TXT")
    assert {tuple(rr.rdata.data) for rr in answer.rr} == {(b"version=1.4.2",), (b"a`=b=1",), (b"team=osint",)}
    odd = instance(metadata={" a`b\t": 1.5, "on": True, "off": False, "": "no key", "none": None, "é": "ü"})
    answer = ask(responder(StandingView([odd])), f"ip-intel.{ZONE}", "TXT")
    expected = (b"` a``b`\t=1.5", b"off=false", b"on=true", "é=ü".encode())
    assert [tuple(rr.rdata.data) for rr in answer.rr] == [(one,) for one in expected], "quoted as RFC 1464 has it"
    bare = ask(responder(StandingView([TWO])), f"ip-intel.{ZONE}", "TXT")
    assert [tuple(rr.rdata.data) for rr in bare.rr] == [(b"",)], "TXT has one string at least"


def test_the_apex_has_soa_and_ns_and_the_name_server_an_address() -> None:
    server = responder(StandingView())
    assert data(ask(server, ZONE, "NS")) == [f"ns.{ZONE}."]
    assert data(ask(server, ZONE, "SOA")) == [f"ns.{ZONE}. hostmaster.{ZONE}. 1 3600 600 86400 5"]
    assert data(ask(server, f"ns.{ZONE}")) == ["127.0.0.1"]
    assert rcode(ask(server, ZONE)) == "NOERROR"


def test_services_can_be_enumerated() -> None:
    server = responder(StandingView([ONE, instance("billing", port=1)]))
    assert data(ask(server, f"_services._dns-sd._udp.{ZONE}", "PTR")) == [
        f"_billing._tcp.{ZONE}.",
        f"_ip-intel._tcp.{ZONE}.",
    ]
    assert rcode(ask(responder(StandingView()), f"_services._dns-sd._udp.{ZONE}", "PTR")) == "NOERROR"


def test_a_name_of_63_characters_of_an_earlier_release_has_all_forms_but_that_with_a_line_in_front() -> None:
    """`_` and 63 octets are no label. The list of services has the others."""
    long = "n" * 63
    server = responder(StandingView([ONE, instance(long, "10.0.0.9", tags=("t" * 63,))]))
    for qtype in ("PTR", "ANY", "A"):
        assert rcode(ask(server, f"_services._dns-sd._udp.{ZONE}", qtype)) == "NOERROR"
    assert data(ask(server, f"_services._dns-sd._udp.{ZONE}", "PTR")) == [f"_ip-intel._tcp.{ZONE}."]
    assert data(ask(server, f"{long}.{ZONE}")) == data(ask(server, f"{'t' * 63}.{long}.{ZONE}")) == ["10.0.0.9"]
    assert len(data(ask(server, f"{long}.{ZONE}", "SRV"))) == 1
    assert data(ask(server, "9.0.0.10.in-addr.arpa", "PTR")) == [f"{long}.{ZONE}."]
    assert server.failures == 0


def test_a_host_that_is_no_name_of_dns_is_no_target() -> None:
    """Registrations are checked; what stands in Redis may be anything."""
    odd = instance("billing", "x" * 64 + ".example", addresses=())
    server = responder(StandingView([odd]))
    assert data(ask(server, f"billing.{ZONE}", "SRV")) == [f"0 256 8034 {short(odd)}"]
    assert server.failures == 0


def test_an_enumeration_that_may_lack_services_says_so() -> None:
    view = StandingView([instance()], complete=False)
    for age_s, errors in ((0, [14]), (40, [3])):
        view.age(age_s)
        answer = ask(responder(view), f"_services._dns-sd._udp.{ZONE}", "PTR", edns=1232)
        assert (rcode(answer), len(answer.rr), extended_errors(answer)) == ("NOERROR", 1, errors)
    view.complete = True
    view.age(0)
    assert extended_errors(ask(responder(view), f"_services._dns-sd._udp.{ZONE}", "PTR", edns=1232)) == []


def test_the_names_of_an_enumeration_all_have_srv_records() -> None:
    both = [instance("syslog", "10.0.0.1", protocol=p, port=n) for n, p in ((5, Protocol.UDP), (6, Protocol.TCP))]
    server = responder(StandingView([ONE, *both, instance("statsd", "10.0.0.2", protocol=Protocol.UDP)]))
    names = data(ask(server, f"_services._dns-sd._udp.{ZONE}", "PTR"))
    assert names == [f"_{n}.{ZONE}." for n in ("ip-intel._tcp", "statsd._udp", "syslog._tcp", "syslog._udp")]
    assert all(ask(server, name, "SRV").rr for name in names)


@pytest.mark.parametrize(
    ("name", "qtype"),
    [("ip-intel", "MX"), ("ip-intel", "HTTPS"), ("_ip-intel._tcp", "A"), ("_ip-intel._tcp", "TXT"), ("_tcp", "A"),
     ("_udp", "SRV"), ("_dns-sd._udp", "PTR"), ("ns", "AAAA")],
)  # fmt: skip
def test_a_name_without_such_records_is_nodata(name: str, qtype: str) -> None:
    answer = ask(responder(StandingView([TWO])), f"{name}.{ZONE}", qtype)
    assert (rcode(answer), data(answer)) == ("NOERROR", [])
    assert [(str(rr.rname), rr.rtype, rr.ttl) for rr in answer.auth] == [(f"{ZONE}.", 6, 5)]


@pytest.mark.parametrize("name", ["nobody", "a.b.ip-intel", "_nobody._tcp", "_ip-intel", "ip-intel._tcp", "x" * 63])
def test_a_missing_name_is_nxdomain_with_a_negative_ttl(name: str) -> None:
    answer = ask(responder(StandingView([TWO])), f"{name}.{ZONE}")
    assert (rcode(answer), data(answer)) == ("NXDOMAIN", [])
    assert [(str(rr.rname), rr.rtype, rr.ttl) for rr in answer.auth] == [(f"{ZONE}.", 6, 5)]
    assert answer.header.aa == 1


def test_a_label_that_is_not_text_does_not_exist() -> None:
    query = question(f"abc.{ZONE}").replace(b"\x03abc", b"\x03a\xff\x00")
    answer = responder(StandingView()).udp(query)
    assert answer is not None
    assert answer[3] & 0xF == dnslib.RCODE.NXDOMAIN  # parsed by hand: dnslib accepts no such label


def test_an_incomplete_view_never_denies_a_name() -> None:
    server = responder(StandingView([ONE], complete=False))
    for name in ("nobody", "blue.ip-intel", "_nobody._tcp", "i-000000000000"):
        answer = ask(server, f"{name}.{ZONE}", edns=1232)
        assert (rcode(answer), answer.header.aa) == ("SERVFAIL", 0)
        assert extended_errors(answer) == [14], "Not Ready"
    assert rcode(ask(server, f"ip-intel.{ZONE}")) == "NOERROR"
    assert rcode(ask(responder(StandingView(complete=False)), f"_services._dns-sd._udp.{ZONE}", "PTR")) == "SERVFAIL"


@pytest.mark.parametrize("name", ["example.com", "internal", "avertice.internal", "vertice.internal.example", "."])
def test_foreign_names_are_refused(name: str) -> None:
    answer = ask(responder(StandingView([ONE])), name)
    assert (rcode(answer), data(answer), answer.header.aa) == ("REFUSED", [], 0)


def test_transfers_and_other_classes_are_refused() -> None:
    server = responder(StandingView([ONE]))
    for qtype in ("AXFR", "IXFR"):
        assert rcode(ask(server, ZONE, qtype)) == "REFUSED"
    chaos = dnslib.DNSRecord(q=dnslib.DNSQuestion(f"ip-intel.{ZONE}", 16, 3)).pack()
    assert rcode(parsed(server.udp(bytes(chaos)))) == "REFUSED"


@pytest.mark.parametrize(
    ("name", "type_"),
    [("ip-intel", 1), ("_ip-intel._tcp", 33), ("canary.ip-intel", 1), (short(ONE)[: -len(f".{ZONE}.")], 1),
     ("six", 28), ("named", 33), ("_services._dns-sd._udp", 12), ("ns", 1)],
)  # fmt: skip
def test_any_is_answered_with_one_rrset_that_is_there(name: str, type_: int) -> None:
    """RFC 8482 section 4.1: whole, and the same as for its own type."""
    six = instance("six", "2001:db8::6", addresses=("2001:db8::6",))
    server = responder(StandingView([ONE, TWO, six, instance("named", "db.corp.example", addresses=())]))
    answer = ask(server, f"{name}.{ZONE}", "ANY", edns=1232)
    assert (rcode(answer), {rr.rtype for rr in answer.rr}) == ("NOERROR", {type_})
    assert data(answer) == data(ask(server, f"{name}.{ZONE}", dnslib.QTYPE.forward[type_], edns=1232))


def test_any_is_of_a_type_that_the_instances_in_use_have() -> None:
    six = instance("six", "2001:db8::6", addresses=("2001:db8::6",))
    failing = instance("six", "10.0.0.6", status=Status.CRITICAL)
    answer = ask(responder(StandingView([six, failing])), f"six.{ZONE}", "ANY")
    assert [rr.rtype for rr in answer.rr] == [28], "an A record would be of the failing one, which is left out"


def test_any_of_a_name_without_records_is_nodata() -> None:
    answer = ask(responder(StandingView([ONE])), f"_tcp.{ZONE}", "ANY")
    assert (rcode(answer), answer.rr, [rr.rtype for rr in answer.auth]) == ("NOERROR", [], [6])
    assert [rr.rtype for rr in ask(responder(StandingView([ONE])), ZONE, "ANY").rr] == [6]


def test_txt_has_one_record_for_each_attribute_of_any_instance() -> None:
    records = [instance(host=f"10.0.0.{n}", version=v, metadata={"team": "osint"}) for n, v in enumerate("112", 1)]
    answer = ask(responder(StandingView(records)), f"ip-intel.{ZONE}", "TXT")
    texts = [tuple(rr.rdata.data) for rr in answer.rr]
    assert sorted(texts) == [(b"team=osint",), (b"version=1",), (b"version=2",)]


# -- statuses


def test_only_passing_instances_are_returned_while_there_are_any() -> None:
    statuses = {s: instance(host=f"10.0.0.{n}", status=s) for n, s in enumerate(Status, 1)}
    server = responder(StandingView(statuses.values()))
    assert data(ask(server, f"ip-intel.{ZONE}")) == ["10.0.0.1", "10.0.0.2"]
    srv = data(ask(server, f"_ip-intel._tcp.{ZONE}", "SRV"))
    assert [line.split()[1] for line in srv] == ["0", "256", "256"], "who drains has no weight"


def test_when_no_instance_passes_the_setting_decides() -> None:
    view = StandingView([instance(status=Status.CRITICAL)])
    assert data(ask(responder(view), f"ip-intel.{ZONE}")) == ["10.0.0.7"]
    for name, qtype in (("ip-intel", "A"), ("ip-intel", "SRV"), ("_ip-intel._tcp", "SRV")):
        answer = ask(responder(view, when_none_pass=WhenNonePass.NONE), f"{name}.{ZONE}", qtype)
        assert (rcode(answer), data(answer)) == ("NOERROR", [])


# -- EDNS and sizes


def test_an_opt_record_is_returned_only_to_clients_that_sent_one() -> None:
    server = responder(StandingView([ONE]))
    assert [rr.rtype for rr in ask(server, f"ip-intel.{ZONE}").ar] == []
    opts = [rr for rr in ask(server, f"ip-intel.{ZONE}", edns=4096).ar if rr.rtype == 41]
    assert [(rr.rclass, rr.ttl) for rr in opts] == [(1232, 0)]
    query = dnslib.DNSRecord(q=dnslib.DNSQuestion(f"ip-intel.{ZONE}"))
    query.add_ar(dnslib.EDNS0(udp_len=1232, flags="do"))
    assert [rr.ttl for rr in parsed(server.udp(bytes(query.pack()))).ar] == [0x8000], "DO is copied (RFC 3225)"


def test_an_unsupported_edns_version_is_badvers() -> None:
    answer = ask(responder(StandingView([ONE])), f"ip-intel.{ZONE}", edns=1232, version=1)
    assert rcode(answer) == "BADVERS"
    assert data(answer) == []
    assert [(rr.ttl >> 16) & 0xFF for rr in answer.ar] == [0], "the version that we support"


def test_unknown_options_are_ignored_and_not_echoed() -> None:
    answer = ask(
        responder(StandingView([TWO])), f"ip-intel.{ZONE}", edns=1232, options=(dnslib.EDNSOption(65001, b"x"),)
    )
    assert data(answer) == ["10.0.0.2"]
    assert [o.code for rr in answer.ar if rr.rtype == 41 for o in rr.rdata] == []


# -- age, order, change


def test_a_stale_answer_is_marked_for_clients_with_edns() -> None:
    view = StandingView([TWO])
    server = responder(view)
    for age_s, errors in ((0.0, []), (29.0, []), (31.0, [3]), (86400.0, [3]), (0.0, [])):
        view.age(age_s)
        answer = ask(server, f"ip-intel.{ZONE}", edns=1232)
        assert (rcode(answer), extended_errors(answer)) == ("NOERROR", errors), age_s
        answer = ask(server, f"ip-intel.{ZONE}", "AAAA", edns=1232)
        assert (data(answer), extended_errors(answer)) == ([], errors), age_s
        answer = ask(server, f"nobody.{ZONE}", edns=1232)
        no_such_name = [19 for _ in errors]  # "Stale NXDOMAIN Answer"
        assert (rcode(answer), extended_errors(answer)) == ("NXDOMAIN", no_such_name), age_s
        assert rcode(ask(server, f"ip-intel.{ZONE}")) == "NOERROR"


def test_a_stale_answer_has_a_ttl_of_at_most_five_seconds() -> None:
    view = StandingView([TWO])
    server = responder(view, ttl_s=60, negative_ttl_s=30)
    for age_s, ttl_s, negative_ttl_s in ((0.0, 60, 30), (31.0, 5, 5), (0.0, 60, 30)):
        view.age(age_s)
        srv = ask(server, f"ip-intel.{ZONE}", "SRV")
        assert {rr.ttl for rr in [*srv.rr, *srv.ar]} == {ttl_s}
        assert [rr.ttl for rr in ask(server, f"nobody.{ZONE}").auth] == [negative_ttl_s]


def test_a_change_of_one_service_is_in_its_next_answer_and_drops_no_other_answer() -> None:
    other = instance("billing", "10.0.0.9")
    view = StandingView([ONE, TWO, other])
    server = responder(view)
    names = (
        f"ip-intel.{ZONE}",
        f"_ip_intel._tcp.{ZONE}",
        f"canary.ip-intel.{ZONE}",
        short(ONE),
        f"comes.{ZONE}",
        f"billing.{ZONE}",
    )
    for _ in range(3):
        for name in names:
            ask(server, name)
    misses = server.misses
    view.become(TWO, other)
    assert data(ask(server, f"billing.{ZONE}")) == ["10.0.0.9"]
    assert server.misses == misses, "billing did not change"
    assert data(ask(server, f"ip-intel.{ZONE}")) == ["10.0.0.2"]
    assert len(data(ask(server, f"_ip_intel._tcp.{ZONE}", "SRV"))) == 1
    assert rcode(ask(server, f"canary.ip-intel.{ZONE}")) == "NXDOMAIN"
    assert rcode(ask(server, short(ONE))) == "NXDOMAIN"
    view.put(instance("comes", "10.0.0.3"), ONE)
    assert data(ask(server, f"comes.{ZONE}")) == ["10.0.0.3"], "a cached NXDOMAIN is dropped when the name appears"
    assert data(ask(server, short(ONE))) == ["10.0.0.1"]
    assert data(ask(server, f"canary.ip-intel.{ZONE}")) == ["10.0.0.1"]


def test_a_cached_answer_equals_a_computed_one() -> None:
    """Whatever the earlier queries, from any client, the answer to a query has one set of records."""
    view = StandingView([ONE, TWO, *(instance("big", f"10.1.0.{n}") for n in range(1, 100))])
    server = responder(view)
    source = random.Random(3)
    names = ["ip-intel", "IP_INTEL", "_ip-intel._tcp", "big", "nobody", "eu.ip-intel", ""]
    for _ in range(500):
        name, qtype = source.choice(names), source.choice(["A", "AAAA", "SRV", "TXT", "MX"])
        edns, id_ = source.choice([None, 512, 1232]), source.randrange(65536)
        full = f"{name}.{ZONE}" if name else ZONE
        kept = ask(server, full, qtype, edns=edns, id_=id_)
        fresh = ask(responder(view, seed=id_), full, qtype, edns=edns, id_=id_)
        assert kept.header.id == id_
        assert (kept.q.qname, kept.header.bitmap) == (fresh.q.qname, fresh.header.bitmap)
        assert len(kept.rr) == len(fresh.rr)
        if name != "big":
            assert data(kept) == data(fresh)
    assert server.hits > 200
    assert sum(server.counters.values()) == 500


# -- access


def test_a_refused_client_learns_only_the_refusal() -> None:
    server = responder(StandingView([ONE]), allow_networks=("10.0.0.0/8",))
    assert (server.admits("10.1.2.3"), server.admits("127.0.0.1")) == (True, False)
    answer = parsed(server.refuse(question(f"ip-intel.{ZONE}", edns=1232)))
    assert (rcode(answer), data(answer), extended_errors(answer)) == ("REFUSED", [], [18])
    assert answer.header.aa == 0
    assert server.refuse(b"") is None
    two_questions = question(f"ip-intel.{ZONE}")[:4] + b"\0\2" + question(f"ip-intel.{ZONE}")[6:]
    assert rcode(parsed(server.refuse(two_questions))) == "FORMERR"
    assert server.prohibited == 3
