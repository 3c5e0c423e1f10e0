"""Unusual queries: classes, unsupported types, opcodes, flags, options, foreign names."""

from __future__ import annotations

import struct
from typing import Any

import dnslib
import pytest

from dns.forward_rules import ForwardRules
from dns.forwarding import Forwarder
from tests.samples import FakeClock, instance
from tests.views import StandingView
from tests.wire.asking import ZONE, ask, data, extended_errors, parsed, question, rcode, responder
from tests.wire.packets import header

ONE = instance("billing", "10.0.0.1")
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
NAME = b"\x07billing\x07vertice\x08internal\x00"


def of_class(qclass: int, qtype: int = 1) -> bytes:
    return header(ar=1) + NAME + struct.pack("!HH", qtype, qclass) + OPT


def keepalive_of(answer: Any) -> list[bytes]:
    return [bytes(o.data) for rr in answer.ar if rr.rtype == 41 for o in rr.rdata if o.code == 11]


# -- classes and types


def test_class_any_is_answered_without_authority() -> None:
    server = responder(StandingView([ONE]))
    answer = parsed(server.udp(of_class(255)))
    assert (rcode(answer), data(answer), answer.header.aa) == ("NOERROR", ["10.0.0.1"], 0)
    assert [rr.rclass for rr in answer.rr] == [1]
    assert parsed(server.udp(of_class(1))).header.aa == 1


@pytest.mark.parametrize("qclass", [0, 2, 3, 4, 254, 65535])
def test_other_classes_are_refused(qclass: int) -> None:
    answer = parsed(responder(StandingView([ONE])).udp(of_class(qclass)))
    assert (rcode(answer), extended_errors(answer), answer.header.aa) == ("REFUSED", [21], 0)


@pytest.mark.parametrize(
    ("qtype", "code"),
    [(252, "REFUSED"), (251, "REFUSED"), (253, "NOTIMP"), (254, "NOTIMP"), (41, "FORMERR"), (249, "FORMERR"),
     (250, "FORMERR")],
)  # fmt: skip
def test_unsupported_types_are_reported_as_such(qtype: int, code: str) -> None:
    answer = parsed(responder(StandingView([ONE])).udp(of_class(1, qtype)))
    assert (rcode(answer), extended_errors(answer), answer.rr, answer.auth) == (code, [21], [], [])


@pytest.mark.parametrize(
    "qtype", [0, 3, 5, 15, 35, 43, 46, 48, 64, 65, 99, 128, 248, 256, 257, 1000, 32769, 65280, 65535]
)
def test_a_missing_or_unknown_type_is_nodata(qtype: int) -> None:
    answer = parsed(responder(StandingView([ONE])).udp(of_class(1, qtype)))
    assert (rcode(answer), answer.rr, [rr.rtype for rr in answer.auth]) == ("NOERROR", [], [6])


@pytest.mark.parametrize("qtype", ["A", "MX", "ANY", "SRV"])
def test_a_nonexistent_name_is_nxdomain_for_any_type(qtype: str) -> None:
    assert rcode(ask(responder(StandingView([ONE])), f"nobody.{ZONE}", qtype)) == "NXDOMAIN"


def test_an_ns_answer_includes_the_name_servers_address() -> None:
    answer = ask(responder(StandingView([ONE])), ZONE, "NS")
    assert (data(answer), data(answer, "ar")) == ([f"ns.{ZONE}."], ["127.0.0.1"])


# -- opcodes and flags


@pytest.mark.parametrize("opcode", range(1, 16))
def test_other_opcodes_are_not_implemented_and_come_back_with_an_opt_record(opcode: int) -> None:
    for tail, opts in ((NAME + b"\0\6\0\1" + OPT, [41]), (b"\0\1garbage", [])):
        packet = header(flags=opcode << 11, ar=1) + tail
        answer = parsed(responder(StandingView([ONE])).udp(packet))
        assert (rcode(answer), answer.header.opcode, answer.header.aa, answer.rr) == ("NOTIMP", opcode, 0, [])
        assert [rr.rtype for rr in answer.ar] == opts
        assert extended_errors(answer) == ([21] if opts else [])


def test_a_malformed_query_with_a_readable_opt_record_is_answered_with_one() -> None:
    """Without one, the client would conclude that EDNS is unsupported here (RFC 6891 section 7)."""
    bad_option = header(ar=1) + NAME + b"\0\1\0\1" + OPT[:-2] + b"\0\3\0\x0a\0"
    two = header(ar=2) + NAME + b"\0\1\0\1" + OPT * 2
    for packet in (bad_option, two):
        answer = parsed(responder(StandingView([ONE])).udp(packet))
        assert (rcode(answer), [rr.rtype for rr in answer.ar]) == ("FORMERR", [41])
    none = parsed(responder(StandingView([ONE])).udp(header() + NAME + b"\0\1\0\1" + b"garbage"))
    assert (rcode(none), none.ar) == ("FORMERR", [])


@pytest.mark.parametrize("more", [0x0000, 0x0100, 0x0010, 0x0020, 0x0040, 0x0080, 0x0200, 0x0400, 0x07F0, 0x000F])
def test_only_the_flags_rd_and_cd_are_copied(more: int) -> None:
    answer = responder(StandingView([ONE])).udp(header(flags=more) + NAME + b"\0\1\0\1")
    assert answer is not None
    (flags,) = struct.unpack_from("!H", answer, 2)
    assert flags == 0x8400 | more & 0x0110, "QR and AA; no RA, no Z, no AD, whatever was sent"


@pytest.mark.parametrize("name", [f"billing.{ZONE}", f"nobody.{ZONE}"])
def test_recursion_available_is_set_when_it_is(name: str) -> None:
    forwarder = Forwarder(ForwardRules(), FakeClock())
    for server, available in (
        (responder(StandingView([ONE])), False),
        (responder(StandingView([ONE]), forwarder=forwarder), True),
    ):
        assert ask(server, name).header.ra == available
        assert ask(server, name, tcp=True).header.ra == available


# -- names


@pytest.mark.parametrize(
    "name", ["BiLLing", "_bIlling._TCP", "noBody", "i-000000000000", "_Services._dns-SD._udp", "a.B.c"]
)  # fmt: skip
@pytest.mark.parametrize("zone", ["VERTICE.internal", "vertice.INTERNAL"])
def test_the_question_is_copied_octet_for_octet(name: str, zone: str) -> None:
    server = responder(StandingView([ONE]))
    query = question(f"{name}.{zone}", "SRV")
    for answer in (server.udp(query), server.udp(query), server.tcp(query)):
        assert answer is not None
        assert answer[12 : len(query)] == query[12:]


def test_owners_share_the_spelling_of_the_question() -> None:
    answer = ask(responder(StandingView([ONE])), "_Billing._tcp.VERTICE.Internal", "SRV", edns=1232)
    assert str(answer.rr[0].rname) == "_Billing._tcp.VERTICE.Internal."
    (glue,) = [rr for rr in answer.ar if rr.rtype == 1]
    assert str(glue.rname).lower() == str(answer.rr[0].rdata.target)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("billing.vertice.internal.vertice.internal", "NXDOMAIN"),
        ("billing.vertice.internal.default.svc.cluster.local", "REFUSED"),
        ("billing.vertice.internal.svc.cluster.local", "REFUSED"),
        ("billing.default.svc.vertice.internal", "NXDOMAIN"),
        ("internal.vertice.internal", "NXDOMAIN"),
        ("vertice.internal.corp", "REFUSED"),
    ],
)
@pytest.mark.parametrize("qtype", ["A", "AAAA"])
def test_names_made_by_search_lists_are_answered_at_once(name: str, code: str, qtype: str) -> None:
    """`ndots:5` in a container's resolv.conf tries these first, so that the real name waits for them."""
    server = responder(StandingView([ONE]))
    answer = ask(server, name, qtype)
    assert (rcode(answer), answer.rr) == (code, [])
    ask(server, name, qtype)
    assert server.hits == 1, "and then it is a ready answer"


def test_a_foreign_name_is_refused_with_the_reason() -> None:
    answer = ask(responder(StandingView([ONE])), "example.com", edns=1232)
    assert (rcode(answer), extended_errors(answer)) == ("REFUSED", [20]), "Not Authoritative"


# -- options


def test_the_keepalive_timeout_is_sent_on_request_over_tcp() -> None:
    server = responder(StandingView([ONE]))
    query = question(f"billing.{ZONE}", edns=1232, options=(dnslib.EDNSOption(11, b""),))
    assert keepalive_of(parsed(server.tcp(query, idle_s=10.0))) == [(100).to_bytes(2)], "in tenths of a second"
    assert keepalive_of(parsed(server.udp(query))) == [], "UDP has no connection to keep (RFC 7828 section 3.2.1)"
    assert keepalive_of(parsed(server.tcp(question(f"billing.{ZONE}", edns=1232), idle_s=10.0))) == []


@pytest.mark.parametrize("code", [3, 5, 8, 9, 12, 13, 14, 15, 16, 100, 65001])
def test_options_for_missing_features_are_ignored(code: int) -> None:
    query = question(f"billing.{ZONE}", edns=1232, options=(dnslib.EDNSOption(code, b"\0\1\2\3\0\0\0\0"),))
    answer = parsed(responder(StandingView([ONE])).udp(query))
    assert (rcode(answer), data(answer)) == ("NOERROR", ["10.0.0.1"])
    assert [len(rr.rdata) for rr in answer.ar if rr.rtype == 41] == [0]
