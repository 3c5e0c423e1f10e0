"""Estimates of what answers cost: compared with each other, since they are no times."""

from __future__ import annotations

from dns import codec
from dns.codec import Query
from dns.costs import AnswerCosts
from dns.dear_work import CHEAP_US, LIGHT_US
from dns.record_data import name_of
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, question

VIEW = StandingView(
    [
        *(instance("crowd", f"10.1.{n >> 8}.{n & 255}") for n in range(2000)),
        *(instance(f"service-{n}", f"10.2.{n >> 8}.{n & 255}") for n in range(1000)),
    ]
)
COSTS = AnswerCosts(VIEW, name_of(ZONE))


def cost(name: str, qtype: str = "A", size: int = 1232) -> int:
    query = codec.read(question(name, qtype))
    assert isinstance(query, Query)
    return COSTS.of(query, size)


def test_small_services_and_names_that_do_not_exist_are_cheap() -> None:
    for name in ("service-1", "nobody", "x.y.z", "ns", "_tcp", "i-0123456789ab"):
        assert cost(f"{name}.{ZONE}") <= CHEAP_US
    for name in (ZONE, "example.com", "com", "1.0.0.10.in-addr.arpa"):
        assert cost(name) <= CHEAP_US, "and foreign names are not estimated here"


def test_large_answers_are_dear() -> None:
    for name, qtype in (("crowd", "A"), ("_crowd._tcp", "SRV"), ("_crowd._tcp", "PTR"), ("crowd", "TXT")):
        assert cost(f"{name}.{ZONE}", qtype) > LIGHT_US
    assert cost(f"_services._dns-sd._udp.{ZONE}", "PTR", 65535) > LIGHT_US


def test_more_records_cost_more() -> None:
    for name, qtype in (("_crowd._tcp", "SRV"), ("_services._dns-sd._udp", "PTR")):
        assert cost(f"{name}.{ZONE}", qtype, 65535) > cost(f"{name}.{ZONE}", qtype, 512)


def test_spelling_does_not_matter() -> None:
    assert cost(f"CROWD.{ZONE.upper()}") == cost(f"crowd.{ZONE}")
