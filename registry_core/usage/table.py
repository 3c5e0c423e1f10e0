"""What each service was asked for by, over all replicas, and how certain it is that there is nobody else. Pure.

A consumer is an agent, by the names of its own services: what several services behind one agent ask for is not told
apart. Agents with the same services are one consumer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from registry_core.usage.ledger import ReplicaPart
from registry_core.usage.merge import MergedAgent, merged
from registry_core.usage.report import Asked, Face
from registry_core.usage.views import (
    AgentState,
    ConsumerUsage,
    Observation,
    ServiceUsage,
    UnseenAgent,
    UsageVerdict,
    UsageView,
)

MOST_UNSEEN: Final = 100
# Consumers of one service that an answer names; the latest first.
MOST_CONSUMERS: Final = 200


class ConsumerKey(NamedTuple):
    """One consumer: the labels of its services, or the host of an agent that has none; or clients of a registry."""

    services: tuple[str, ...] = ()
    host: str = ""
    is_direct: bool = False


DIRECT: Final = ConsumerKey(is_direct=True)


class _Uses:
    """What one consumer asked of one service."""

    __slots__ = ("agents", "ago_s", "dns", "http", "rate")

    def __init__(self) -> None:
        self.agents: set[str] = set()
        self.dns = self.http = 0
        self.rate = 0.0
        self.ago_s = float("inf")

    def add(self, asked: Asked, agent_id: str, counted_s: float) -> None:
        """Add the counts of one agent; `counted_s` is 0 when it has no present rate."""
        if agent_id:
            self.agents.add(agent_id)
        if asked.face is Face.DNS:
            self.dns += asked.count
        else:
            self.http += asked.count
        self.rate += asked.count / counted_s if counted_s > 0 else 0.0
        self.ago_s = min(self.ago_s, asked.ago_s)


class UsageTable:
    """The usage of all services, as of one moment. `now` is Unix time."""

    def __init__(self, parts: Sequence[ReplicaPart], silent_replicas: Sequence[str], now: float) -> None:
        self._parts = parts
        self._silent_replicas = silent_replicas
        self._now = now
        self._agents = merged(parts)
        self._by_service: dict[str, dict[ConsumerKey, _Uses]] = {}
        for agent in self._agents:
            self._add_agent(agent)
        for part in parts:
            for asked in part.direct:
                self._uses(asked.label, DIRECT).add(asked, "", part.direct_s)
        self.observed_s = min((part.complete_s for part in parts), default=0.0)

    def view(
        self,
        registered: Iterable[str],
        named: Callable[[str], str],
        *,
        within_s: float | None = None,
        label: str | None = None,
    ) -> UsageView:
        """Return the usage of each service in `registered` (labels) and of whatever was asked for; or of `label` alone.

        `named` returns the name that a label is registered under; the verdicts are about the last `within_s`, by
        default about everything that was observed.
        """
        within_s = self.observed_s if within_s is None else within_s
        known = frozenset(registered)
        labels = sorted(known | self._by_service.keys()) if label is None else [label]
        observed = self._observation(within_s, named)
        return UsageView(
            usage=[self._service(one, one in known, named, within_s, bool(observed.doubts)) for one in labels],
            observed=observed,
        )

    def _add_agent(self, agent: MergedAgent) -> None:
        report = agent.entry.report
        key = ConsumerKey(report.services) if report.services else ConsumerKey(host=report.host)
        counted_s = report.counted_s or 0.0 if agent.state is AgentState.CURRENT else 0.0
        for asked in report.usage:
            self._uses(asked.label, key).add(asked, agent.entry.agent_id, counted_s)

    def _uses(self, label: str, key: ConsumerKey) -> _Uses:
        return self._by_service.setdefault(label, {}).setdefault(key, _Uses())

    def _service(
        self, label: str, registered: bool, named: Callable[[str], str], within_s: float, in_doubt: bool
    ) -> ServiceUsage:
        consumers = self._by_service.get(label, {})
        by_others = [uses for key, uses in consumers.items() if key.services != (label,)]
        ago_s = min((uses.ago_s for uses in consumers.values()), default=None)
        if any(uses.ago_s <= within_s for uses in by_others):
            verdict = UsageVerdict.USED
        else:
            verdict = UsageVerdict.UNKNOWN if in_doubt else UsageVerdict.UNUSED
        latest = sorted(consumers.items(), key=lambda item: (item[1].ago_s, item[0]))
        return ServiceUsage(
            service=named(label),
            registered=registered,
            verdict=verdict,
            count=sum(uses.dns + uses.http for uses in consumers.values()),
            rate_per_second=round(sum(uses.rate for uses in consumers.values()), 6),
            last_asked=None if ago_s is None else self._at(ago_s),
            last_asked_ago_seconds=None if ago_s is None else round(ago_s, 3),
            consumers=[self._consumer(key, uses, named) for key, uses in latest[:MOST_CONSUMERS]],
        )

    def _consumer(self, key: ConsumerKey, uses: _Uses, named: Callable[[str], str]) -> ConsumerUsage:
        return ConsumerUsage(
            services=[named(one) for one in key.services],
            host=key.host,
            is_direct=key.is_direct,
            agents=len(uses.agents),
            dns=uses.dns,
            http=uses.http,
            rate_per_second=round(uses.rate, 6),
            last_asked=self._at(uses.ago_s),
            last_asked_ago_seconds=round(uses.ago_s, 3),
        )

    def _observation(self, within_s: float, named: Callable[[str], str]) -> Observation:
        unseen = [one for agent in self._agents if (one := _unseen(agent, within_s)) is not None]
        unseen.sort(key=lambda one: one.reported_ago_seconds)
        counting = [
            one for one in self._agents if one.state is AgentState.CURRENT and one.entry.report.counted_s is not None
        ]
        return Observation(
            since=self._at(self.observed_s),
            seconds=round(self.observed_s, 3),
            within_seconds=round(within_s, 3),
            agents=len(counting),
            services=sorted({named(label) for one in counting for label in one.entry.report.services}),
            reports_ago_seconds=max((one.entry.reported_ago_s for one in counting), default=0.0),
            unseen=unseen[:MOST_UNSEEN],
            unreported=sum(part.unreported for part in self._parts),
            replicas=len(self._parts),
            silent_replicas=list(self._silent_replicas),
            doubts=list(self._doubts(within_s, len(unseen))),
        )

    def _doubts(self, within_s: float, unseen: int) -> Iterable[str]:
        if self.observed_s < within_s:
            yield f"agents were observed for {self.observed_s:.0f} s, which is less than {within_s:.0f} s"
        for url in self._silent_replicas:
            yield f"the registry {url} does not answer: what its agents asked for is not known"
        ages = [part.unreported_ago_s for part in self._parts if part.unreported_ago_s is not None]
        if count := sum(part.unreported for part in self._parts):
            yield f"{count} agents do not report: of an older release, or without a right to"
        elif ages and min(ages) <= within_s:
            yield f"{min(ages):.0f} s ago there were agents that do not report"
        if unseen:
            yield f"{unseen} agents are silent, were killed, do not count, or had no room to count everything"
        if any(part.direct_left_out for part in self._parts):
            yield "a registry had no room to count everything that was looked up at it"
        if not all(part.knows_all for part in self._parts):
            yield "a registry does not know all services yet, or has no REGISTRY_PEERS and may not be the only one"

    def _at(self, ago_s: float) -> str:
        return datetime.fromtimestamp(self._now - ago_s, UTC).isoformat(timespec="milliseconds")


def _unseen(agent: MergedAgent, within_s: float) -> UnseenAgent | None:
    """Return why what this agent asked for in the last `within_s` is not known as a whole; None if it is."""
    entry, report = agent.entry, agent.entry.report
    if entry.reported_ago_s > within_s:
        return None
    if agent.state is AgentState.SILENT:
        because = "silent"
    elif agent.state is AgentState.ENDED and not report.ending:
        because = "killed before its last report"
    elif report.counted_s is None:
        because = "AGENT_USAGE=off"
    elif entry.left_out_ago_s is not None and entry.left_out_ago_s <= within_s:
        because = "no room to count"
    else:
        return None
    return UnseenAgent(
        agent_id=entry.agent_id,
        host=report.host,
        services=list(report.services),
        because=because,
        reported_ago_seconds=entry.reported_ago_s,
    )
