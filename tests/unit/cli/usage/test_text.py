"""Usage as text: each consumer by the names of its services, and every doubt said."""

from __future__ import annotations

import pytest

from cli.usage.text import DIRECT, consumer_name, rate, reasons_against, unused_lines, usage_lines
from registry_core.usage.ledger import ReplicaPart
from registry_core.usage.report import Asked, Face
from registry_core.usage.table import UsageTable
from registry_core.usage.views import ConsumerUsage, UsageVerdict, UsageView
from tests.unit.registry_core.usage.test_merge import NOW
from tests.unit.registry_core.usage.test_table import agent, part

SERVICES = ("billing", "ip-intel", "search")


def seen(*parts: ReplicaPart, services: tuple[str, ...] = SERVICES, silent: tuple[str, ...] = ()) -> UsageView:
    return UsageTable(parts, silent, NOW).view(services, str)


def consumer(**more: object) -> ConsumerUsage:
    given: dict[str, object] = {
        "services": [],
        "host": "",
        "is_direct": False,
        "agents": 1,
        "dns": 1,
        "http": 0,
        "rate_per_second": 0.0,
        "last_asked": "",
        "last_asked_ago_seconds": 1.0,
    }
    return ConsumerUsage(**(given | more))  # type: ignore[arg-type] # the values fit their fields


def test_several_services_behind_one_agent_are_one_consumer() -> None:
    assert consumer_name(consumer(services=["billing", "search"])) == "billing, search"
    assert consumer_name(consumer(services=list("abcde"))) == "a, b, c and 2 more"
    assert consumer_name(consumer(host="web1")) == "agent at web1"
    assert consumer_name(consumer(is_direct=True)) == DIRECT
    assert "\x1b" not in consumer_name(consumer(services=["\x1b[2J"]))


@pytest.mark.parametrize(
    ("per_second", "shown"), [(0, "-"), (12.34, "12.3/s"), (0.5, "30/min"), (0.001, "3.6/h"), (0.0001, "8.6/d")]
)
def test_rates_are_for_people(per_second: float, shown: str) -> None:
    assert rate(per_second) == shown


def test_each_consumer_has_a_line() -> None:
    view = seen(
        part(
            "r1", agent("a1", Asked("ip-intel", Face.DNS, 50, 4.0), Asked("gone", Face.HTTP, 1, 9.0), services=("b2",))
        )
    )
    assert usage_lines(view) == [
        "SERVICE                CONSUMER  DNS  HTTP    RATE  LAST ASKED",
        "billing                -",
        "gone (not registered)  b2          0     1    36/h  9 s ago",
        "ip-intel               b2         50     0  30/min  4 s ago",
        "search                 -",
        "",
        "observed for 24 h (since 2025-11-23T16:00:00.000+00:00), as of 1 s ago: 1 agent, 1 registry",
    ]


def test_unused_and_not_known_are_two_things() -> None:
    asked = agent("a1", Asked("ip-intel", Face.DNS, 50, 4.0), services=("b2",))
    assert unused_lines(seen(part("r1", asked)))[:3] == [
        "unused: nobody asked for 2 services within 24 h",
        "  billing",
        "  search",
    ]
    lines = unused_lines(seen(part("r1", asked, agent("a2", ago_s=400.0, host="web1")), silent=("http://r2",)))
    assert lines == [
        "unused: nobody asked for 0 services within 24 h",
        "not known: nobody is known to have asked for 2 services within 24 h",
        "  billing",
        "  search",
        "",
        "observed for 24 h (since 2025-11-23T16:00:00.000+00:00), as of 1 s ago: 1 agent, 1 registry",
        "doubt: the registry http://r2 does not answer: what its agents asked for is not known",
        "doubt: 1 agents are silent, were killed, do not count, or had no room to count everything",
        "  agent a2 at web1: silent, reported 7 min ago",
    ]


def test_a_service_is_safe_to_delete_only_if_that_is_certain() -> None:
    used = seen(part("r1", agent("a1", Asked("billing", Face.DNS, 1, 200.0), services=("search",))))
    by_name = {one.service: one for one in used.usage}
    assert reasons_against(by_name["billing"], used.observed) == ["search asked for it 3 min ago"]
    assert reasons_against(by_name["search"], used.observed) == []
    doubtful = seen(part("r1", unreported=1))
    assert doubtful.usage[0].verdict is UsageVerdict.UNKNOWN
    assert reasons_against(doubtful.usage[0], doubtful.observed) == [
        "it is not certain that nobody uses it: 1 agents do not report: of an older release, or without a right to"
    ]
