"""What replicas know of agents adds up: nobody is counted twice, and a silent agent is not taken for one that ended."""

from __future__ import annotations

from typing import Any

from registry_core.usage.ledger import AgentEntry, ReplicaPart
from registry_core.usage.merge import agents_view, merged
from registry_core.usage.report import AgentReport, Asked, Face
from registry_core.usage.views import AgentState

NOW = 1_764_000_000.0


def entry(agent_id: str = "a1", ago_s: float = 1.0, sequence: int = 1, *asked: Asked, **more: Any) -> AgentEntry:
    more.setdefault("freshness", "fresh")
    return AgentEntry(
        agent_id=agent_id,
        report=AgentReport(key="0" * 32, sequence=sequence, usage=asked, **more),
        reported_ago_s=ago_s,
    )


def part(replica: str, *agents: AgentEntry, **more: Any) -> ReplicaPart:
    return ReplicaPart(replica=replica, every_s=30.0, complete_s=100.0, agents=list(agents), **more)


def test_an_agent_that_moved_is_one_agent_with_its_highest_counts() -> None:
    before = entry("a1", 50.0, 4, Asked("billing", Face.DNS, 10, 55.0), Asked("search", Face.HTTP, 3, 80.0))
    after = entry("a1", 1.0, 6, Asked("billing", Face.DNS, 12, 2.0))
    for parts in ([part("r1", before), part("r2", after)], [part("r2", after), part("r1", before)]):
        (agent,) = merged(parts)
        assert (agent.registry, agent.state) == ("r2", AgentState.CURRENT)
        assert set(agent.entry.report.usage) == {
            Asked("billing", Face.DNS, 12, 2.0),
            Asked("search", Face.HTTP, 3, 80.0),
        }


def test_an_agent_is_silent_after_three_periods_and_ended_when_it_says_so_or_another_took_its_place() -> None:
    place: dict[str, Any] = {"host": "web1", "services": ("billing",)}
    view = agents_view(
        [
            part(
                "r1",
                entry("a1", 94.0),
                entry("a2", 96.0),
                entry("a3", 5.0, ending=True),
                entry("a4", 200.0, **place),
                entry("a5", 3.0, **place),
            )
        ],
        [],
        NOW,
    )
    assert {one.agent_id: one.state.value for one in view.agents} == {
        "a1": "current",
        "a2": "silent",
        "a3": "ended",
        "a4": "ended",
        "a5": "current",
    }
    assert view.by_state == {"current": 2, "silent": 1, "ended": 2}
    assert view.by_freshness == {"fresh": 2, "unknown": 1}


def test_silent_agents_are_listed_for_an_hour_and_ended_ones_for_five_minutes() -> None:
    view = agents_view([part("r1", entry("a1", 3599.0), entry("a2", 3601.0), entry("a3", 301.0, ending=True))], [], NOW)
    assert [one.agent_id for one in view.agents] == ["a1"]


def test_what_is_missing_is_said() -> None:
    view = agents_view([part("r1", unreported=2, left_out=1), part("r2", unreported=1)], ["http://r3"], NOW)
    assert (view.unreported, view.left_out, view.replicas, view.silent_replicas) == (3, 1, 2, ["http://r3"])


def test_a_word_of_a_later_release_is_unknown_and_times_are_for_people() -> None:
    view = agents_view([part("r1", entry("a1", 2.0, freshness="crisp", version="9.9.9", service_count=70))], [], NOW)
    (agent,) = view.agents
    assert (agent.freshness, agent.version, agent.service_count) == ("unknown", "9.9.9", 70)
    assert agent.reported_at == "2025-11-24T15:59:58.000+00:00"
    assert view.by_version == {"9.9.9": 1}
