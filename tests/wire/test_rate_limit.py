"""Clients beyond loopback: how many answers they get, and what the rest get instead."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

import pytest

from dns.codec import Query
from dns.forward_rules import ForwardRules
from dns.forwarding import ForeignAnswer, Forwarder
from dns.rate_limit import KINDS, USUAL_OCTETS, RateLimit, RateLimitAction, kind_of, network_of
from dns.responder import Responder
from tests.samples import FakeClock, instance
from tests.views import StandingView
from tests.wire.asking import ZONE, data, parsed, question, rcode, responder
from tests.wire.test_cookies import CLIENT, asked, bare, cookie_of, option

VIEW = [instance(host="10.0.0.1"), instance("billing", "10.0.0.2")]
HOST = "10.1.2.3"
LIMIT = 10


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(clock: FakeClock) -> Responder:
    networks = ("127.0.0.0/8", "10.0.0.0/8", "fd00::/8")
    return responder(StandingView(VIEW), clock=clock, allow_networks=networks, rate_limit=LIMIT)


def answers(server: Responder, count: int, host: str = HOST, query: bytes | None = None) -> list[bytes]:
    """Return the answers to `count` queries."""
    query = query if query is not None else question(f"ip-intel.{ZONE}")
    return [answer for _ in range(count) if (answer := server.remote(query, host)) is not None]


def whole(found: list[bytes]) -> int:
    """Return how many of the answers have the queried records."""
    return sum(1 for answer in found if parsed(answer).rr)


def test_answers_per_second_are_limited(server: Responder, clock: FakeClock) -> None:
    assert whole(answers(server, 50)) == LIMIT
    clock.pass_time(0.5)
    assert whole(answers(server, 50)) == LIMIT // 2
    clock.pass_time(3600)
    assert whole(answers(server, 50)) == LIMIT, "an hour of rest gives no more than a second"
    assert server.limited == 150 - 2 * LIMIT - LIMIT // 2


def test_every_second_query_over_the_limit_gets_a_truncated_answer(server: Responder) -> None:
    answers(server, LIMIT)
    slipped = answers(server, 20)
    assert len(slipped) == 10
    for packed in slipped:
        answer = parsed(packed)
        assert (rcode(answer), answer.header.tc, answer.rr, answer.auth) == ("NOERROR", 1, [], [])
        assert len(packed) == len(question(f"ip-intel.{ZONE}")), "no larger than the query"
    assert data(parsed(server.tcp(question(f"ip-intel.{ZONE}"), HOST))) == ["10.0.0.1"], "and there it is answered"


def test_a_network_shares_its_limit_and_others_have_their_own(server: Responder) -> None:
    answers(server, LIMIT)
    assert whole(answers(server, 5, "10.1.2.200")) == 0
    assert whole(answers(server, 5, "10.1.3.3")) == 5
    assert whole(answers(server, 50, "fd00:0:0:100::1")) == LIMIT
    assert whole(answers(server, 5, "fd00:0:0:1ff::2")) == 0, "the same /56"
    assert whole(answers(server, 5, "fd00:0:0:200::1")) == 5


def test_each_name_has_its_limit_in_whatever_spelling(server: Responder) -> None:
    answers(server, LIMIT)
    for spelling in ("IP-intel", "ip_intel", "iP_INTEL"):
        assert whole(answers(server, 2, query=question(f"{spelling}.{ZONE}"))) == 0
    assert whole(answers(server, 5, query=question(f"billing.{ZONE}"))) == 5
    assert whole(answers(server, 5, query=question(f"ip-intel.{ZONE}", "SRV"))) == 5


def test_names_that_do_not_exist_share_one_limit(server: Responder) -> None:
    found = [server.remote(question(f"x{n}.{ZONE}"), HOST) for n in range(100)]
    assert sum(1 for a in found if a is not None and rcode(parsed(a)) == "NXDOMAIN") == LIMIT


def test_refusals_are_limited_too_and_never_truncated(server: Responder) -> None:
    found = answers(server, 100, "192.0.2.1")
    assert [rcode(parsed(a)) for a in found] == ["REFUSED"] * LIMIT


def test_malformed_packets_are_limited(server: Responder) -> None:
    assert len(answers(server, 100, query=question(f"ip-intel.{ZONE}")[:20])) == LIMIT
    assert answers(server, 3, query=b"") == [], "unanswered packets are not counted"


def test_a_valid_cookie_is_not_limited_and_costs_others_nothing(server: Responder) -> None:
    cookie = cookie_of(parsed(server.remote(asked(CLIENT), HOST)))
    assert cookie is not None
    assert whole(answers(server, 100, query=asked(cookie))) == 100
    assert whole(answers(server, 100)) == LIMIT - 1, "its neighbours still have theirs"
    assert whole(answers(server, 10, query=asked(cookie))) == 10
    assert whole(answers(server, 10, "10.1.2.4", asked(cookie))) == 0, "and it is not valid from elsewhere"


def test_a_client_cookie_over_the_limit_gets_a_server_cookie(server: Responder) -> None:
    answers(server, LIMIT)
    slipped = answers(server, 4, query=asked(CLIENT))
    assert [rcode(parsed(a)) for a in slipped] == ["BADCOOKIE"] * 2
    cookie = cookie_of(parsed(slipped[0]))
    assert cookie is not None
    assert whole(answers(server, 5, query=asked(cookie))) == 5


def test_a_cookie_without_a_question_is_limited_too(server: Responder) -> None:
    assert len(answers(server, 50, query=bare(option(CLIENT)))) == LIMIT


def test_this_machine_is_never_limited(server: Responder) -> None:
    assert server.is_local("127.0.0.1")
    assert not server.is_local(HOST)
    for _ in range(10 * LIMIT):
        assert data(parsed(server.udp(question(f"ip-intel.{ZONE}")))) == ["10.0.0.1"]
    assert server.limited == 0


class Elsewhere(Forwarder):
    """Answers every name later."""

    def answer(
        self,
        query: Query,  # noqa: ARG002 - the signature of what it stands for
        message: bytes,  # noqa: ARG002 - likewise
        asker: Hashable = None,  # noqa: ARG002 - likewise
    ) -> ForeignAnswer | asyncio.Future[ForeignAnswer]:
        return asyncio.get_running_loop().create_future()


async def test_late_answers_are_limited_too(clock: FakeClock) -> None:
    server = responder(
        StandingView(VIEW),
        clock=clock,
        forwarder=Elsewhere(ForwardRules(), clock),
        allow_networks=("10.0.0.0/8",),
        rate_limit=LIMIT,
    )
    later, slipped = 0, 0
    for _ in range(50):
        slipped += server.remote(question("example.com"), HOST) is not None
        later += server.take_later() is not None
    assert (later, slipped) == (LIMIT, 20)
    assert server.remote(question("example.org"), HOST) is None
    assert server.take_later() is not None, "another name has its own limit"


def test_a_victim_gets_no_more_of_many_names_than_of_a_few(clock: FakeClock) -> None:
    """A forged sender is asked for 1,500 names and two types, each below its own limit."""
    view = StandingView([instance(f"service-{n}", f"10.{n >> 8}.{n & 255}.1") for n in range(1500)])
    server = responder(view, clock=clock, allow_networks=("10.0.0.0/8",), rate_limit=LIMIT)
    queries = [question(f"service-{n}.{ZONE}", qtype) for n in range(1500) for qtype in ("A", "SRV")]
    sent = [answer for n, query in enumerate(queries) if (answer := server.remote(query, f"10.1.2.{n % 250}"))]
    assert whole(sent) == KINDS * LIMIT
    assert len(sent) <= 2 * KINDS * LIMIT, "the advice is bounded, too"
    assert sum(map(len, sent)) <= KINDS * LIMIT * USUAL_OCTETS + sum(len(one) for one in sent if not parsed(one).rr)
    made = server.misses
    for query in queries:
        server.remote(query, "10.1.2.3")
    assert server.misses == made, "and nothing is made that is not sent"
    assert whole(answers(server, 5, "10.1.3.3", question(f"service-1.{ZONE}"))) == 5, "its neighbours have theirs"
    clock.pass_time(1.0)
    again = [answer for query in queries if (answer := server.remote(query, HOST))]
    assert whole(again) == KINDS * LIMIT


def test_large_answers_count_for_more(clock: FakeClock) -> None:
    rates = RateLimit(LIMIT)
    packed = responder(StandingView(VIEW)).udp(question(f"ip-intel.{ZONE}"))
    assert packed is not None
    large = [packed[:13] + bytes((n,)) + packed[14:] + bytes(4 * USUAL_OCTETS) for n in range(ord("a"), ord("z"))]
    now = clock.monotonic()
    verdicts = [rates.verdict(HOST, one, now) for one in large if rates.excess(HOST, now) is RateLimitAction.SEND]
    assert LIMIT - 1 <= verdicts.count(RateLimitAction.SEND) <= LIMIT + 1, "a quarter of as many"
    rates.charge("10.9.9.9", 100 * KINDS * LIMIT * USUAL_OCTETS, clock.monotonic())
    clock.pass_time(0.5)
    assert rates.excess("10.9.9.9", clock.monotonic()) is not RateLimitAction.SEND
    clock.pass_time(1.0)
    assert rates.excess("10.9.9.9", clock.monotonic()) is RateLimitAction.SEND, "a debt is bounded"


def test_a_valid_cookie_is_not_limited_in_all_either(server: Responder) -> None:
    cookie = cookie_of(parsed(server.remote(asked(CLIENT), HOST)))
    assert cookie is not None
    for n in range(20):
        answers(server, LIMIT, query=question(f"x{n}.{ZONE}", "TXT"))
        answers(server, LIMIT, query=question(f"billing.{ZONE}", ("A", "SRV", "TXT", "AAAA", "MX")[n % 5]))
    assert whole(answers(server, 100, query=asked(cookie))) == 100


def test_no_limit_means_none(clock: FakeClock) -> None:
    server = responder(StandingView(VIEW), clock=clock, allow_networks=("10.0.0.0/8",), rate_limit=0)
    assert whole(answers(server, 5000)) == 5000


def test_memory_and_answers_are_bounded_for_any_number_of_networks() -> None:
    rates = RateLimit(1, slots=64)
    packed = responder(StandingView(VIEW)).udp(question(f"ip-intel.{ZONE}"))
    assert packed is not None
    sent = sum(
        rates.verdict(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", packed, 100.0) is RateLimitAction.SEND
        for n in range(0, 1 << 22, 256)
    )
    assert 0 < sent <= 64


@pytest.mark.parametrize(
    ("host", "network"),
    [("10.1.2.3", "10.1.2"), ("::ffff:10.1.2.3", "10.1.2"), ("fe80::1%eth0", b"\xfe\x80" + bytes(5))],
)
def test_the_network_of_a_client(host: str, network: str | bytes) -> None:
    assert network_of(host) == network


def test_nodata_and_names_are_different_kinds() -> None:
    server = responder(StandingView(VIEW))
    kinds = {}
    for name, qtype in (("ip-intel", "A"), ("ip-intel", "MX"), ("nobody", "A"), ("x.y.z", "A"), ("billing", "MX")):
        packed = server.udp(question(f"{name}.{ZONE}", qtype))
        assert packed is not None
        kinds[name, qtype] = kind_of(packed)
    assert kinds["nobody", "A"] == kinds["x.y.z", "A"]
    assert kinds["ip-intel", "MX"] == kinds["billing", "MX"]
    assert len(set(kinds.values())) == 3
