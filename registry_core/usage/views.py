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


class UsageVerdict(StrEnum):
    """Whether a service was asked for within the time that was asked about."""

    USED = "used"
    UNUSED = "unused"  # certain: nobody asked, and everybody who could have was observed
    UNKNOWN = "unknown"  # nobody is known to have asked; `doubts` says what was not observed


class ConsumerUsage(msgspec.Struct, kw_only=True):
    """A consumer of a service: the services behind one agent, or the clients of the registry itself."""

    services: list[str]  # of the agent; empty for one without services, and for clients of the registry
    host: str  # of an agent without services; "" otherwise
    is_direct: bool  # clients that ask the registry, without an agent
    agents: int
    dns: int  # questions, since the agents' start
    http: int
    rate_per_second: float  # of agents that report, on average since their start
    last_asked: str
    last_asked_ago_seconds: float


class ServiceUsage(msgspec.Struct, kw_only=True):
    """The consumers of one service."""

    service: str
    registered: bool
    verdict: UsageVerdict
    count: int
    rate_per_second: float
    last_asked: str | None  # None: nobody is known to have asked
    last_asked_ago_seconds: float | None
    consumers: list[ConsumerUsage]


class UnseenAgent(msgspec.Struct, kw_only=True):
    """An agent whose programs may have asked for something that is not known."""

    agent_id: str
    host: str
    services: list[str]
    because: str
    reported_ago_seconds: float


class Observation(msgspec.Struct, kw_only=True):
    """How far the answer can be trusted. With any doubt, a service that nobody asked for is `unknown`, not `unused`."""

    since: str  # everything that agents reported since then is in the answer
    seconds: float
    within_seconds: float  # the time that the verdicts are about
    agents: int  # that report and count
    services: list[str]  # with such an agent
    reports_ago_seconds: float  # the oldest of their latest reports: what was asked after it may be missing
    unseen: list[UnseenAgent]  # at most 100
    unreported: int  # watchers that acknowledge and do not report
    replicas: int
    silent_replicas: list[str]
    doubts: list[str]


class UsageView(msgspec.Struct, kw_only=True):
    """`GET /usage`: every registered service, and whatever else was asked for."""

    usage: list[ServiceUsage]
    observed: Observation
