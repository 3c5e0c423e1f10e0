"""Usage: consumers add up, and `unused` is said only when everybody who could have asked was observed."""

from __future__ import annotations

from typing import Any

import pytest

from registry_core.usage.ledger import ReplicaPart
from registry_core.usage.report import Asked, Face
from registry_core.usage.table import UsageTable
from registry_core.usage.views import ServiceUsage, UsageVerdict, UsageView
from tests.unit.registry_core.usage.test_merge import NOW, entry

DAY_S = 86_400.0
SERVICES = ("billing", "ip-intel")


def part(replica: str, *agents: Any, **more: Any) -> ReplicaPart:
    more.setdefault("complete_s", DAY_S)
    return ReplicaPart(replica=replica, every_s=30.0, agents=list(agents), **more)


def view(*parts: ReplicaPart, silent: tuple[str, ...] = (), **more: Any) -> UsageView:
    return UsageTable(parts, silent, NOW).view(SERVICES, lambda label: label.replace("ip-", "ip_"), **more)


def service(seen: UsageView, name: str) -> ServiceUsage:
    return next(one for one in seen.usage if one.service == name)


def agent(name: str, *asked: Asked, **more: Any) -> Any:
    more.setdefault("counted_s", 100.0)
    return entry(name, more.pop("ago_s", 1.0), 1, *asked, **more)


def test_agents_with_the_same_services_are_one_consumer() -> None:
    seen = view(
        part("r1", agent("a1", Asked("ip-intel", Face.DNS, 50, 4.0), services=("billing",))),
        part(
            "r2",
            agent("a2", Asked("ip-intel", Face.HTTP, 25, 9.0), services=("billing",)),
            agent("a3", Asked("ip-intel", Face.DNS, 1, 2.0), host="web1"),
            direct=(Asked("ip-intel", Face.HTTP, 7, 30.0),),
            direct_s=70.0,
        ),
    )
    used = service(seen, "ip_intel")
    assert (used.verdict, used.count, used.registered) == (UsageVerdict.USED, 83, True)
    assert used.last_asked_ago_seconds == 2.0
    shown = [(c.services, c.host, c.is_direct, c.agents, c.dns, c.http, c.rate_per_second) for c in used.consumers]
    assert shown == [
        ([], "web1", False, 1, 1, 0, 0.01),
        (["billing"], "", False, 2, 50, 25, 0.75),
        ([], "", True, 0, 0, 7, 0.1),
    ]


def test_a_service_that_only_asks_for_itself_is_unused() -> None:
    seen = view(part("r1", agent("a1", Asked("billing", Face.DNS, 5, 1.0), services=("billing",))))
    assert service(seen, "billing").verdict is UsageVerdict.UNUSED
    assert service(seen, "billing").count == 5


def test_what_was_asked_for_before_the_time_in_question_is_unused_in_it() -> None:
    parts = part("r1", agent("a1", Asked("billing", Face.DNS, 5, 3600.0), services=("ip-intel",)))
    assert service(view(parts, within_s=60.0), "billing").verdict is UsageVerdict.UNUSED
    assert service(view(parts, within_s=7200.0), "billing").verdict is UsageVerdict.USED


def test_a_name_that_nobody_registered_is_listed_when_it_was_asked_for() -> None:
    seen = view(part("r1", agent("a1", Asked("gone", Face.DNS, 5, 1.0))))
    assert (service(seen, "gone").registered, service(seen, "gone").verdict) == (False, UsageVerdict.USED)
    assert [one.service for one in view(part("r1"), label="nobody").usage] == ["nobody"]


@pytest.mark.parametrize(
    ("parts", "silent", "within_s", "doubt"),
    [
        ([part("r1")], ("http://r2",), 60.0, "does not answer"),
        ([part("r1", complete_s=30.0)], (), 60.0, "observed for 30 s"),
        ([part("r1"), part("r2", complete_s=30.0)], (), 60.0, "observed for 30 s"),
        ([part("r1", unreported=2, unreported_ago_s=0.0)], (), 60.0, "2 agents do not report"),
        ([part("r1", unreported_ago_s=50.0)], (), 60.0, "50 s ago"),
        ([part("r1", agent("a1", ago_s=200.0))], (), 600.0, "silent"),
        ([part("r1", agent("a1", counted_s=None))], (), 60.0, "do not count"),
        ([part("r1", direct_left_out=1)], (), 60.0, "no room"),
        ([part("r1", knows_all=False)], (), 60.0, "REGISTRY_PEERS"),
    ],
)
def test_with_any_doubt_nobody_is_called_unused(
    parts: list[ReplicaPart], silent: tuple[str, ...], within_s: float, doubt: str
) -> None:
    seen = view(*parts, silent=silent, within_s=within_s)
    assert any(doubt in one for one in seen.observed.doubts), seen.observed.doubts
    assert {one.verdict for one in seen.usage} == {UsageVerdict.UNKNOWN}


def test_agents_that_cannot_be_judged_are_named_with_the_reason() -> None:
    place: dict[str, Any] = {"host": "web1", "services": ("billing",)}
    seen = view(
        part(
            "r1",
            agent("silent", ago_s=400.0),
            agent("off", counted_s=None),
            agent("killed", ago_s=300.0, **place),
            agent("now", **place),
            agent("ended", ago_s=300.0, ending=True),
            agent("old", ago_s=5000.0),
        ),
        within_s=1000.0,
    )
    assert {one.agent_id: one.because for one in seen.observed.unseen} == {
        "silent": "silent",
        "off": "AGENT_USAGE=off",
        "killed": "killed before its last report",
    }


def test_what_was_in_doubt_before_the_time_in_question_is_no_doubt() -> None:
    seen = view(part("r1", agent("silent", ago_s=400.0), unreported_ago_s=400.0), within_s=300.0)
    assert seen.observed.doubts == []
    assert service(seen, "billing").verdict is UsageVerdict.UNUSED
