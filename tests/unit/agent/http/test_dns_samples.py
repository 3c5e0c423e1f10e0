"""What the metrics say of DNS: every answered query once, by type and rcode, and the answers from the view."""

from __future__ import annotations

from collections.abc import Mapping

from agent.http.dns_samples import dns_samples
from agent.http.samples import HistogramSample, Sample
from dns.responder import Responder
from tests.samples import FakeClock, instance
from tests.views import StandingView
from tests.wire.asking import ZONE, ask, question, responder


def values(samples: list[Sample]) -> dict[str, Mapping[tuple[str, ...], float]]:
    return {sample.name: sample.values for sample in samples if not isinstance(sample, HistogramSample)}


def queries(server: Responder) -> dict[tuple[str, ...], float]:
    found = values(list(dns_samples(server)))["agent_dns_queries"]
    assert sum(server.counts.answers.values()) <= sum(found.values())
    return dict(found)


def test_each_answered_query_counts_once_whatever_its_way() -> None:
    server = responder(StandingView([instance("ip_intel", "10.0.0.1")]), clock=FakeClock())
    name = f"ip-intel.{ZONE}"
    for _ in range(70):
        ask(server, name)
    for _ in range(3):
        ask(server, name.upper(), "A")
        ask(server, name, "A", tcp=True)
        ask(server, name, "AAAA", edns=1232)
        ask(server, f"nobody.{ZONE}", "SRV")
        ask(server, "example.com")
        ask(server, name, "AXFR", tcp=True)
    assert queries(server) == {
        ("A", "NOERROR"): 76,
        ("AAAA", "NOERROR"): 3,
        ("SRV", "NXDOMAIN"): 3,
        ("A", "REFUSED"): 3,
        ("AXFR", "REFUSED"): 3,
    }
    server.counts.fold()
    assert server.counts.answers["fresh"] == server.counts.ages.count == 88


def test_what_is_not_answered_from_the_view_counts_as_a_query_and_not_as_an_answer() -> None:
    server = responder(StandingView([instance("ip_intel", "10.0.0.1")]), clock=FakeClock())
    server.refuse(question(f"ip-intel.{ZONE}"), "192.0.2.1")
    notify = bytearray(question(f"ip-intel.{ZONE}"))
    notify[2] |= 0x20
    server.udp(bytes(notify))
    server.udp(question(f"ip-intel.{ZONE}")[:20])
    server.udp(b"?")
    assert queries(server) == {("A", "REFUSED"): 1, ("other", "NOTIMP"): 1, ("other", "FORMERR"): 1}
    found = values(list(dns_samples(server)))
    assert found["agent_dns_prohibited"] == {(): 1}
    assert found["agent_dns_malformed"] == {(): 3}
    server.counts.fold()
    assert sum(server.counts.answers.values()) == server.counts.ages.count == 0


def test_malformed_messages_are_counted_once_each_and_under_few_labels() -> None:
    server = responder(StandingView([instance("ip_intel", "10.0.0.1")]), clock=FakeClock())
    whole = question(f"ip-intel.{ZONE}", edns=1232)
    answered = 0
    for octet in range(2, len(whole)):
        for message in (whole[:octet], whole[:octet] + b"\xff" + whole[octet + 1 :]):
            answered += server.udp(message) is not None
    assert sum(queries(server).values()) == answered
    assert len(queries(server)) < 20


def test_an_answer_counts_under_the_freshness_that_it_says() -> None:
    """The ready answers of before, too: none is given out after the view has become older."""
    view = StandingView([instance("ip_intel", "10.0.0.1")])
    server = responder(view, clock=FakeClock())
    for age_s, asked in ((0.0, 3), (31.0, 5), (61.0, 7), (0.0, 1)):
        view.age(age_s)
        for _ in range(asked):
            ask(server, f"ip-intel.{ZONE}")
    assert server.counts.answers == {"fresh": 4, "stale": 5, "expired": 7, "unknown": 0}
    server.counts.fold()
    assert server.counts.ages.sum == 5 * 31.0 + 7 * 61.0


def test_an_answer_that_is_made_after_the_view_has_aged_ends_those_of_before() -> None:
    """Nobody told of it yet: the view notices the time about once a second."""
    view = StandingView([instance("ip_intel", "10.0.0.1")])
    server = responder(view, clock=FakeClock())
    ask(server, f"ip-intel.{ZONE}", edns=1232)
    view._age_s = 45.0
    ask(server, f"ip-intel.{ZONE}", "AAAA")
    stale = ask(server, f"ip-intel.{ZONE}", edns=1232)
    assert [option.code for rr in stale.ar for option in rr.rdata] == [15], "it says that it is stale"
    assert server.counts.answers == {"fresh": 1, "stale": 2, "expired": 0, "unknown": 0}


def test_cannot_tell_is_unknown() -> None:
    server = responder(StandingView(complete=False), clock=FakeClock())
    ask(server, f"ip-intel.{ZONE}")
    assert server.counts.answers == {"fresh": 0, "stale": 0, "expired": 0, "unknown": 1}
    assert queries(server) == {("A", "SERVFAIL"): 1}
