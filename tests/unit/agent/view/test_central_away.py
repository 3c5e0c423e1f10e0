"""Ten minutes without anything central, in virtual time: all lookups are answered, each with its age."""

from __future__ import annotations

import random

import pytest

from agent.http.lookups import Lookups
from agent.view.view import AgentView
from registry_core.domain.catalog import Catalog
from registry_core.domain.events import Position
from registry_core.domain.selection import WhenNonePass
from registry_core.watch.changes import Replaced, Synced
from registry_core.watch.cursor import cursor_of
from registry_core.watch.trust import Advice
from tests.samples import FakeClock, instance, lived
from tests.wire.asking import ZONE, parsed, question, responder

pytestmark = pytest.mark.untraced

SERVICES = 111
AWAY_S = 600
DNS_PER_S = HTTP_PER_S = 500
FRESH_S = 30
STALE_ANSWER = b"\0\x0f\0\2\0\3"  # EDE, two octets, 3 (RFC 8914)
FLEET = [instance(f"service_{n:03}", f"10.0.{n}.1") for n in range(SERVICES)]
CURSOR = cursor_of([Position(0, "e1", 1)])


def digest() -> str:
    catalog = Catalog()
    catalog.merge(map(lived, FLEET))
    return catalog.digest


def freshness(view: AgentView) -> str:
    return view.freshness.value


def test_ten_minutes_with_everything_central_away_cost_no_lookup_at_a_thousand_a_second() -> None:
    clock = FakeClock()
    view = AgentView(clock)
    dns = responder(view, clock=clock)
    http = Lookups(view, zone="", when_none_pass=WhenNonePass.ALL, random=random.Random(1))
    queries = [question(f"{i.service_name}.{ZONE}", edns=1232) for i in FLEET]
    view.apply(Replaced(tuple(map(lived, FLEET)), CURSOR, digest(), "ready", "start"))
    view.lost()

    ages: list[float] = []
    answered = 0
    for second in range(AWAY_S):
        clock.pass_time(1.0)
        view.tick()
        ages.append(view.age_s())
        for number in range(DNS_PER_S):
            answer = dns.udp(queries[(second * DNS_PER_S + number) % SERVICES])
            assert answer is not None
            assert answer[3] & 0x0F == 0, "NOERROR"
            assert answer[6:8] == b"\0\1", "one address"
            assert (STALE_ANSWER in answer) == (second + 1 >= FRESH_S)
            answered += 1
        for number in range(HTTP_PER_S):
            wanted = FLEET[(second * HTTP_PER_S + number) % SERVICES]
            assert http.find(wanted.service_name).near[0] is not None
            answered += 1
    assert answered == AWAY_S * (DNS_PER_S + HTTP_PER_S)
    assert ages == [float(second + 1) for second in range(AWAY_S)], "the age rises, second by second"
    assert freshness(view) == "expired"
    assert parsed(dns.udp(question(f"nobody.{ZONE}"))).header.rcode == 2, "no longer known not to exist"

    view.opened(None)
    assert view.apply(Synced(CURSOR, digest(), "ready", 0.0)) is Advice.NOTHING
    assert freshness(view) == "fresh", "with the registry's first line"
    answer = dns.udp(queries[0])
    assert answer is not None
    assert STALE_ANSWER not in answer
    assert parsed(dns.udp(question(f"nobody.{ZONE}"))).header.rcode == 3
