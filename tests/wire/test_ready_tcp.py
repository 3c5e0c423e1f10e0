"""Ready answers over TCP: whole, dropped with what they say, and never sent in a datagram."""

from __future__ import annotations

import dnslib

from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, ask, data, parsed, question, responder


def test_the_second_answer_is_ready_and_the_same_whatever_the_case_of_its_name() -> None:
    server = responder(StandingView([instance("ip_intel", "10.0.0.1")]))
    first, second = (ask(server, f"ip-intel.{ZONE}", tcp=True, id_=number) for number in (1, 2))
    assert (data(first), first.header.id) == (["10.0.0.1"], 1)
    assert (data(second), second.header.id) == (["10.0.0.1"], 2)
    assert server.hits == 1
    spelled = ask(server, f"IP-Intel.{ZONE}", tcp=True)
    assert str(spelled.q.qname) == f"IP-Intel.{ZONE}."
    assert (server.hits, server.counters["A", "NOERROR"]) == (2, 3)


def test_an_answer_that_is_ready_for_tcp_never_leaves_in_a_datagram() -> None:
    view = StandingView([instance("large", f"10.1.0.{number}") for number in range(200)])
    server = responder(view)
    query = question(f"_large._tcp.{ZONE}", "SRV")
    whole = server.tcp(query)
    assert whole is not None
    assert len(whole) > 10_000
    for _ in range(2):
        cut = server.udp(query)
        assert cut is not None
        assert len(cut) <= 512
        assert parsed(cut).header.tc
        assert server.tcp(query) is not None
        assert not parsed(server.tcp(query)).header.tc, "nor the other way round"


def test_a_ready_answer_goes_when_the_view_changes() -> None:
    view = StandingView([instance("ip_intel", "10.0.0.1")])
    server = responder(view)
    assert data(ask(server, f"ip-intel.{ZONE}", tcp=True)) == ["10.0.0.1"]
    view.become(instance("ip_intel", "10.0.0.9"))
    assert data(ask(server, f"ip-intel.{ZONE}", tcp=True)) == ["10.0.0.9"]


def test_a_question_with_options_has_no_ready_answer() -> None:
    server = responder(StandingView([instance("ip_intel", "10.0.0.1")]))
    keepalive = dnslib.EDNSOption(11, b"")
    for _ in range(2):
        ask(server, f"ip-intel.{ZONE}", tcp=True, edns=1232, options=(keepalive,))
    assert server.hits == 0
