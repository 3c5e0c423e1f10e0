"""Adds up what the replicas of a deployment know of agents. Pure.

An agent that moved has reported to several replicas, and each knows a part. Its counts only grow, so the highest of
each is the sum, and nothing is counted twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from registry_core.domain.freshness import Freshness
from registry_core.usage.ledger import AgentEntry, ReplicaPart
from registry_core.usage.limits import ENDED_LISTED_S, SILENT_LISTED_S, SILENT_PERIODS
from registry_core.usage.report import AgentReport, Asked, Face
from registry_core.usage.views import AgentState, AgentsView, ListedAgent

UNKNOWN: Final = "unknown"
_WORDS: Final = frozenset(one.value for one in Freshness)
# Reports are sent with a random delay, and take a moment.
_GRACE_S: Final = 5.0


class MergedAgent(NamedTuple):
    """One agent: the latest that any replica knows of it, which replica that is, and whether it still reports."""

    entry: AgentEntry
    registry: str
    state: AgentState


def merged(parts: Iterable[ReplicaPart]) -> list[MergedAgent]:
    """Return the agents of all parts, each once."""
    found: dict[str, tuple[AgentEntry, str]] = {}
    every_s = 0.0
    for part in parts:
        every_s = max(every_s, part.every_s)
        for entry in part.agents:
            known = found.get(entry.agent_id)
            if known is None:
                found[entry.agent_id] = (entry, part.replica)
            elif known[0].report.sequence < entry.report.sequence:
                found[entry.agent_id] = (_joined(entry, known[0]), part.replica)
            else:
                found[entry.agent_id] = (_joined(known[0], entry), known[1])
    silent_after_s = silent_after(every_s)
    latest = _latest_by_place(entry for entry, _ in found.values())
    return [
        MergedAgent(entry, registry, _state(entry, silent_after_s, latest.get(_place(entry), 0.0)))
        for entry, registry in found.values()
    ]


def agents_view(parts: Sequence[ReplicaPart], silent_replicas: Sequence[str], now: float) -> AgentsView:
    """Return the agents of all parts; `now` is Unix time."""
    listed = [agent for agent in merged(parts) if _is_listed(agent)]
    agents = sorted((_listed(agent, now) for agent in listed), key=lambda one: (one.services, one.host, one.agent_id))
    there = [one for one in agents if one.state is not AgentState.ENDED]
    states = Counter(one.state.value for one in agents)
    return AgentsView(
        agents=agents,
        by_version=dict(Counter(one.version or UNKNOWN for one in there).most_common()),
        by_freshness=dict(Counter(one.freshness for one in there).most_common()),
        by_state={state.value: states[state.value] for state in AgentState},
        unreported=sum(part.unreported for part in parts),
        left_out=sum(part.left_out for part in parts),
        replicas=len(parts),
        silent_replicas=list(silent_replicas),
    )


def silent_after(every_s: float) -> float:
    """Return after how many seconds without a report an agent is silent."""
    return SILENT_PERIODS * every_s + _GRACE_S


def state_of(report: AgentReport, reported_ago_s: float, silent_after_s: float) -> AgentState:
    """Return the state of an agent, by its own latest report alone."""
    if report.ending:
        return AgentState.ENDED
    return AgentState.CURRENT if reported_ago_s <= silent_after_s else AgentState.SILENT


def freshness_word(report: AgentReport, state: AgentState) -> str:
    """Return how fresh an agent's view is, as far as that is known."""
    return report.freshness if state is AgentState.CURRENT and report.freshness in _WORDS else UNKNOWN


def _joined(later: AgentEntry, earlier: AgentEntry) -> AgentEntry:
    """Return what both say of one agent."""
    pairs: dict[tuple[str, Face], Asked] = {(one.label, one.face): one for one in earlier.report.usage}
    for one in later.report.usage:
        other = pairs.get((one.label, one.face), one)
        pairs[one.label, one.face] = Asked(
            one.label, one.face, max(one.count, other.count), min(one.ago_s, other.ago_s)
        )
    ages = [one.left_out_ago_s for one in (later, earlier) if one.left_out_ago_s is not None]
    return msgspec.structs.replace(
        later,
        report=msgspec.structs.replace(later.report, usage=tuple(pairs.values())),
        left_out_ago_s=min(ages, default=None),
    )


def _place(entry: AgentEntry) -> tuple[str, tuple[str, ...]]:
    return entry.report.host, entry.report.services


def _latest_by_place(entries: Iterable[AgentEntry]) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return how long ago the latest report came, for each set of services on a machine."""
    latest: dict[tuple[str, tuple[str, ...]], float] = {}
    for entry in entries:
        place = _place(entry)
        latest[place] = min(entry.reported_ago_s, latest.get(place, entry.reported_ago_s))
    return latest


def _state(entry: AgentEntry, silent_after_s: float, latest_ago_s: float) -> AgentState:
    state = state_of(entry.report, entry.reported_ago_s, silent_after_s)
    is_replaced = bool(entry.report.host and entry.report.services) and latest_ago_s <= silent_after_s
    return AgentState.ENDED if state is AgentState.SILENT and is_replaced else state


def _is_listed(agent: MergedAgent) -> bool:
    match agent.state:
        case AgentState.CURRENT:
            return True
        case AgentState.SILENT:
            return agent.entry.reported_ago_s <= SILENT_LISTED_S
        case AgentState.ENDED:
            return agent.entry.reported_ago_s <= ENDED_LISTED_S


def _listed(agent: MergedAgent, now: float) -> ListedAgent:
    entry, report = agent.entry, agent.entry.report
    return ListedAgent(
        agent_id=entry.agent_id,
        version=report.version,
        zone=report.zone,
        host=report.host,
        state=agent.state,
        freshness=freshness_word(report, agent.state),
        age_seconds=report.age_s,
        services=list(report.services),
        service_count=max(report.service_count, len(report.services)),
        counts_usage=report.counted_s is not None,
        registry=entry.registry or agent.registry,
        reported_at=datetime.fromtimestamp(now - entry.reported_ago_s, UTC).isoformat(timespec="milliseconds"),
        reported_ago_seconds=entry.reported_ago_s,
    )
