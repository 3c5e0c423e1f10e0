"""Aliases of a foreign zone that end in ours: completed from the view, at each answer."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from dns import codec
from dns.answers import Zone, ZoneSettings
from dns.codec import Answer, Query, Rcode
from dns.foreign_drafts import ForeignDrafts
from dns.forwarding import ForeignAnswer
from dns.hop import Hops
from dns.relay import Relayed, alias_lifetime_s
from registry_core.domain.records import Status
from tests.foreign import reply_of
from tests.samples import FakeClock, instance
from tests.views import StandingView
from tests.wire.asking import ZONE, data, extended_errors, parsed, question, rcode

OLD = "old.corp"
OURS = f"billing.{ZONE}."
ALIAS = f"{OLD}. 300 IN CNAME {OURS}"
ROOT_SOA = ". 900 IN SOA a.root. b.root. 1 3600 600 86400 60"


class Lacking(StandingView):
    """Knows of a service that it does not hold."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def lacks(self, name: str) -> bool:
        return name == "billing"

    def fetch(self, name: str) -> asyncio.Future[None] | None:
        self.fetched.append(name)
        return asyncio.get_running_loop().create_future()


def completed(
    view: StandingView,
    found: ForeignAnswer,
    name: str = OLD,
    qtype: str = "A",
    *,
    edns: int | None = None,
    idle_s: float | None = None,
) -> Any:
    """Return the client's answer, as dnslib reads it; it is checked to fit."""
    query = codec.read(question(name, qtype, edns=edns))
    assert isinstance(query, Query)
    hop = Hops(FakeClock(), 1232, recursion=True).of(query, "127.0.0.1", idle_s)
    drafts = ForeignDrafts(Zone(view, ZoneSettings()), view, random.Random(7))
    packed = hop.finish(drafts.draft(query, found, hop))
    assert len(packed) <= hop.size
    return parsed(packed)


def names(answer: Any) -> list[tuple[str, int]]:
    return [(str(rr.rname).lower(), rr.rtype) for rr in answer.rr]


@pytest.fixture
def view() -> StandingView:
    return StandingView([instance("billing", "10.0.0.1"), instance("billing", "10.0.0.2", status=Status.CRITICAL)])


@pytest.mark.parametrize(
    "found",
    [
        reply_of(OLD, ALIAS, authority=ROOT_SOA, rcode=3),
        reply_of(OLD, ALIAS),
        reply_of(OLD, ALIAS, rcode=2),
        reply_of(OLD, ALIAS, f"{OURS} 60 IN A 198.51.100.66"),
    ],
    ids=["NXDOMAIN", "NOERROR", "SERVFAIL", "another answer"],
)
def test_an_alias_of_our_name_is_completed_from_the_view_whatever_the_resolver_says(
    view: StandingView, found: Any
) -> None:
    for edns, idle_s in ((None, None), (1232, None), (None, 10.0)):
        answer = completed(view, Relayed(found), "OLD.Corp", edns=edns, idle_s=idle_s)
        assert (rcode(answer), answer.header.aa, answer.header.ad, answer.header.tc) == ("NOERROR", 0, 0, 0)
        assert names(answer) == [("old.corp.", 5), (OURS, 1)]
        assert data(answer) == ["10.0.0.1", OURS]
        assert ([rr.ttl for rr in answer.rr], data(answer, "auth")) == ([300, 5], [])
        assert str(answer.q.qname) == "OLD.Corp."


def test_what_the_view_holds_now_is_answered_also_for_a_cached_alias(view: StandingView) -> None:
    cached = Relayed(reply_of(OLD, ALIAS, rcode=3), age_s=100)
    assert data(completed(view, cached)) == ["10.0.0.1", OURS]
    view.become(instance("billing", "10.0.0.9"))
    answer = completed(view, cached)
    assert (data(answer), answer.rr[0].ttl) == (["10.0.0.9", OURS], 200)


def test_a_stale_alias_is_said_to_be_one(view: StandingView) -> None:
    answer = completed(view, Relayed(reply_of(OLD, ALIAS), most_ttl_s=30, stale=True), edns=1232)
    assert ([rr.ttl for rr in answer.rr], extended_errors(answer)) == ([30, 5], [3])
    gone = reply_of(OLD, f"{OLD}. 300 IN CNAME nobody.{ZONE}.")
    assert extended_errors(completed(view, Relayed(gone, stale=True), edns=1232)) == [19]


def test_several_aliases_lead_to_our_name_with_their_signatures(view: StandingView) -> None:
    signature = f"{OLD}. 300 IN RRSIG A 8 2 300 20300101000000 20200101000000 1 corp. AAAA"
    reply = reply_of(
        OLD, f"{OLD}. 300 IN CNAME a.corp.", signature, f"a.corp. 200 IN CNAME {OURS}", "x.corp. 5 IN A 1.2.3.4"
    )
    assert names(completed(view, Relayed(reply))) == [(f"{OLD}.", 5), (f"{OLD}.", 46), ("a.corp.", 5), (OURS, 1)]
    assert alias_lifetime_s(reply) == 200


def test_a_name_of_ours_that_is_not_there_is_told_with_our_soa(view: StandingView) -> None:
    answer = completed(view, Relayed(reply_of(OLD, f"{OLD}. 300 IN CNAME nobody.{ZONE}.")))
    assert (rcode(answer), names(answer), len(answer.auth)) == ("NXDOMAIN", [(f"{OLD}.", 5)], 1)
    assert str(answer.auth[0].rname) == f"{ZONE}."
    answer = completed(view, Relayed(reply_of(OLD, ALIAS, qtype="AAAA", rcode=3)), qtype="AAAA")
    assert (rcode(answer), names(answer), str(answer.auth[0].rname)) == ("NOERROR", [(f"{OLD}.", 5)], f"{ZONE}.")


def test_srv_is_completed_with_addresses(view: StandingView) -> None:
    found = reply_of("_x._tcp.corp", f"_x._tcp.corp. 60 IN CNAME _billing._tcp.{ZONE}.", qtype="SRV", rcode=3)
    answer = completed(view, Relayed(found), "_x._tcp.corp", "SRV", edns=1232)
    assert names(answer) == [("_x._tcp.corp.", 5), (f"_billing._tcp.{ZONE}.", 33)]
    assert data(answer, "ar") == ["10.0.0.1"]


@pytest.mark.parametrize("qtype", ["CNAME", "ANY"])
def test_who_asks_for_the_alias_itself_gets_it_alone(view: StandingView, qtype: str) -> None:
    answer = completed(view, Relayed(reply_of(OLD, ALIAS, qtype=qtype)), qtype=qtype)
    assert names(answer) == [(f"{OLD}.", 5)]


def test_a_view_that_cannot_tell_never_makes_a_no_of_it() -> None:
    warming = StandingView(complete=False)
    answer = completed(warming, Relayed(reply_of(OLD, ALIAS, authority=ROOT_SOA, rcode=3)), edns=1232)
    assert (rcode(answer), extended_errors(answer)) == ("SERVFAIL", [14])
    known = Relayed(reply_of(OLD, ALIAS, f"{OURS} 60 IN A 10.0.0.1"))
    assert data(completed(warming, known)) == ["10.0.0.1", OURS], "but another agent may"


async def test_a_service_that_is_not_held_is_fetched_for_the_next_question_and_not_waited_for() -> None:
    view = Lacking()
    assert rcode(completed(view, Relayed(reply_of(OLD, ALIAS, rcode=3)))) == "SERVFAIL"
    assert view.fetched == ["billing"]


def test_a_large_service_is_a_part_for_stubs_and_truncated_for_others() -> None:
    view = StandingView(instance("billing", f"10.0.1.{n}") for n in range(250))
    found = Relayed(reply_of(OLD, ALIAS))
    stub = completed(view, found)
    assert (stub.header.tc, len(stub.rr), stub.rr[0].rtype) == (0, 29, 5)
    assert completed(view, found, edns=1232).header.tc == 1
    assert len(completed(view, found, edns=1232, idle_s=10.0).rr) == 251


def test_what_is_too_large_for_tcp_is_a_part_and_says_so() -> None:
    view = StandingView(instance("billing", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(1, 2001))
    found = reply_of(OLD, f"{OLD}. 60 IN CNAME _billing._tcp.{ZONE}.", qtype="SRV")
    answer = completed(view, Relayed(found), qtype="SRV", edns=1232, idle_s=10.0)
    assert (answer.header.tc, 1000 < len(answer.rr) < 2000, extended_errors(answer)) == (0, True, [0])


def test_aliases_that_do_not_fit_are_missed_openly(view: StandingView) -> None:
    label = "a" * 60
    chain = [f"{label}{n}.{label}.{label}.corp." for n in range(4)]
    links = [f"{one} 300 IN CNAME {other}" for one, other in zip([f"{OLD}.", *chain], [*chain, OURS], strict=True)]
    padding = [f"{OLD}. 300 IN RRSIG A 8 2 300 20300101000000 20200101000000 1 corp. {'A' * 400}"]
    answer = completed(view, Relayed(reply_of(OLD, links[0], *padding, *links[1:])))
    assert (rcode(answer), answer.header.tc, answer.rr) == ("NOERROR", 1, [])


@pytest.mark.parametrize(
    "records",
    [
        (f"{OLD}. 300 IN CNAME www.example.", "www.example. 300 IN A 192.0.2.1"),
        (f"{OLD}. 300 IN CNAME {OLD}.",),
        (f"{OLD}. 300 IN CNAME a.corp.", f"a.corp. 300 IN CNAME {OLD}."),
        (f"{OLD}. 300 IN CNAME x{ZONE}.",),
        (f"{OURS} 300 IN A 192.0.2.1", ALIAS),
    ],
    ids=["elsewhere", "itself", "a loop", "a name like ours", "an order that no server has"],
)
def test_other_aliases_are_relayed_as_they_are(view: StandingView, records: tuple[str, ...]) -> None:
    assert len(completed(view, Relayed(reply_of(OLD, *records))).rr) == len(records)


def test_a_loop_through_our_name_ends_at_our_name(view: StandingView) -> None:
    found = reply_of(OLD, ALIAS, f"{OURS} 300 IN CNAME {OLD}.")
    assert names(completed(view, Relayed(found))) == [(f"{OLD}.", 5), (OURS, 1)]


def test_our_own_words_are_written_as_they_are(view: StandingView) -> None:
    answer = completed(view, Answer(Rcode.SERVFAIL, authoritative=False, extended_error=22), edns=1232)
    assert (rcode(answer), extended_errors(answer)) == ("SERVFAIL", [22])
