"""Which instance comes first: in turn, by weight, and for every client."""

from __future__ import annotations

import dnslib
import pytest

from dns.answer_cache import LIVES
from dns.rotation import MAX_ORDERS
from registry_core.domain.names import short_id
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, ask, parsed, question, responder
from tests.wire.test_sizes import many

pytestmark = pytest.mark.untraced


def test_answers_rotate_and_heavy_instances_lead_more_often() -> None:
    light, heavy = instance(host="10.0.0.1", weight=1), instance(host="10.0.0.2", weight=9)
    view = StandingView([light, heavy])
    server = responder(view)
    first = []
    for _ in range(400):
        first.append(str(ask(server, f"ip-intel.{ZONE}").rr[0].rdata))
        if len(first) % 8 == 0:
            view.age(0)  # begin again with new orders
    assert 0.02 < first.count("10.0.0.1") / 400 < 0.25
    assert set(first) == {"10.0.0.1", "10.0.0.2"}


@pytest.mark.parametrize("qtype", ["A", "SRV", "TXT"])
@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1), (1, 9), (1, 2, 3), (1,) * 8, (1, 100)])
def test_each_of_a_few_instances_leads_in_proportion_to_its_weight(weights: tuple[int, ...], qtype: str) -> None:
    hosts = [f"10.0.0.{n}" for n in range(len(weights))]
    view = StandingView(
        instance(host=host, weight=weight, metadata={"host": host}) for host, weight in zip(hosts, weights, strict=True)
    )
    name = f"_ip-intel._tcp.{ZONE}" if qtype == "SRV" else f"ip-intel.{ZONE}"
    for seed in range(10):
        server = responder(view, seed)
        first: list[str] = []
        for _ in range(300):
            answer = ask(server, name, qtype)
            assert len(answer.rr) == len(weights)
            shown = str(answer.rr[0].rdata)
            first.append(
                next(
                    host
                    for host in hosts
                    if (short_id("ip_intel", instance(host=host).instance_id) if qtype == "SRV" else host) in shown
                )
            )
        for host, weight in zip(hosts, weights, strict=True):
            assert abs(first.count(host) - 300 * weight / sum(weights)) <= 3, (seed, host)
        assert server.misses <= MAX_ORDERS, "and few of them had to be encoded"


def test_each_of_three_equal_instances_is_followed_by_both_others() -> None:
    """Otherwise all clients that cannot reach the first would go to the same second."""
    followed = 0
    for seed in range(20):
        server = responder(StandingView(instance(host=f"10.0.0.{n}") for n in range(3)), seed)
        pairs = {tuple(str(rr.rdata) for rr in ask(server, f"ip-intel.{ZONE}").rr[:2]) for _ in range(100)}
        followed += len(pairs)
    assert followed / 20 > 4, "six are possible, and three would be the least"


def test_an_instance_without_an_address_of_the_queried_kind_takes_no_turn() -> None:
    both = ("10.0.0.1", "2001:db8::1")
    view = StandingView(
        [
            instance(host="10.0.0.1", addresses=both),
            instance(host="10.0.0.2", addresses=("10.0.0.2", "2001:db8::2")),
            instance(host="10.0.0.3"),
        ]
    )
    for seed in range(10):
        server = responder(view, seed)
        first = [str(ask(server, f"ip-intel.{ZONE}", "AAAA").rr[0].rdata) for _ in range(300)]
        assert abs(first.count("2001:db8::1") - 150) <= 3


@pytest.mark.parametrize("how", ["over TCP", "with a cookie", "after a change"])
def test_the_leader_of_a_one_off_answer_is_drawn_by_weight(how: str) -> None:
    view = StandingView(instance(host=f"10.0.0.{weight}", weight=weight) for weight in (1, 3, 4))
    server = responder(view)
    options = (dnslib.EDNSOption(10, b"8 octets"),) if how == "with a cookie" else ()
    first: list[str] = []
    for _ in range(2000):
        first.append(
            str(ask(server, f"ip-intel.{ZONE}", edns=1232, options=options, tcp=how == "over TCP").rr[0].rdata)
        )
        if how == "after a change":
            view.age(0)
    for weight in (1, 3, 4):
        # Five standard deviations.
        assert abs(first.count(f"10.0.0.{weight}") - 250 * weight) < 5 * (250 * weight * (8 - weight) / 8) ** 0.5


def test_near_instances_lead_in_turn_and_far_ones_never() -> None:
    near = [instance(host=f"10.0.0.{n}", zone="a") for n in range(2)]
    far = [instance(host=f"10.0.1.{n}", zone="b") for n in range(20)]
    server = responder(StandingView([*far, *near]), local_zone="a")
    answers = [[str(rr.rdata) for rr in ask(server, f"ip-intel.{ZONE}").rr] for _ in range(300)]
    assert abs([a[0] for a in answers].count("10.0.0.0") - 150) <= 3
    assert all(set(a[:2]) == {"10.0.0.0", "10.0.0.1"} for a in answers)


def test_over_time_all_of_a_large_service_is_returned() -> None:
    """The few ready orders cover a few hundred of the addresses, so they are not kept for ever."""
    server = responder(many(500))
    query = question(f"ip-intel.{ZONE}")
    seen: set[str] = set()
    for number in range(30 * LIVES):
        packed = server.udp(query)
        assert packed is not None
        if number % (LIVES) < MAX_ORDERS:
            seen |= {str(rr.rdata) for rr in parsed(packed).rr}
    assert len(seen) == 500
    assert server.misses < 31 * MAX_ORDERS
