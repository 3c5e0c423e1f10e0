"""The wire types of answers about agents."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class AgentState(StrEnum):
    """Whether an agent reports."""

    CURRENT = "current"
    SILENT = "silent"  # it has not reported for three periods
    ENDED = "ended"  # it said that it stops, or another one reports for the same services of the same machine


class ListedAgent(msgspec.Struct, kw_only=True):
    """One run of an agent: one that is restarted has another id."""

    agent_id: str
    version: str
    zone: str
    host: str
    state: AgentState
    freshness: str  # of its view: fresh, stale, expired; unknown when it does not report, or has no view yet
    age_seconds: float | None  # of its view, when it reported
    services: list[str]  # its own; at most 64 are named
    service_count: int
    counts_usage: bool
    registry: str  # the id of the replica that it reported to last
    reported_at: str
    reported_ago_seconds: float


class AgentsView(msgspec.Struct, kw_only=True):
    """`GET /agents`: the agents of all replicas. Ended ones are listed for five minutes, silent ones for an hour."""

    agents: list[ListedAgent]
    by_version: dict[str, int]  # of those that have not ended
    by_freshness: dict[str, int]
    by_state: dict[str, int]
    unreported: int  # watchers that acknowledge and do not report: of an older release, or without a right to report
    left_out: int  # agents that were forgotten for lack of room
    replicas: int  # that this answer covers
    silent_replicas: list[str]  # peers that did not answer: what they know is missing here
