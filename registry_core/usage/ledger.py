"""What one replica knows from the reports of agents: the latest state of each, and what its programs asked for. Pure.

It is bounded in agents and in pairs of an agent and a service; whatever reported longest ago goes first. It remembers
since when its knowledge is complete, so that nobody takes what was forgotten for what never was.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from itertools import takewhile

import msgspec

from registry_core.domain.names import label_of
from registry_core.usage.limits import KEPT_S, MAX_AGENT_PAIRS, MAX_AGENTS, MAX_PAIRS
from registry_core.usage.report import AgentReport, Asked, Face, agent_id_of

# Pairs that go at a time, so that a search for the one that goes is rare.
_GO_AT_ONCE = 100


class LedgerLimits(msgspec.Struct, frozen=True):
    """The bounds of a ledger."""

    agents: int = MAX_AGENTS
    pairs: int = MAX_PAIRS
    agent_pairs: int = MAX_AGENT_PAIRS
    kept_s: float = KEPT_S


class AgentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One agent, as replicas tell each other. Ages are seconds before the answer."""

    agent_id: str
    report: AgentReport  # the latest, without its key; its usage is everything that is known
    reported_ago_s: float
    left_out_ago_s: float | None = None  # since it last said that it could not count a question
    registry: str = ""  # the id of the follower that it reports to; "" when that is the replica that says this


class ReplicaPart(msgspec.Struct, frozen=True, kw_only=True):
    """What one replica alone knows."""

    replica: str
    every_s: float  # how often it asks its agents for a report
    complete_s: float  # for how long it has known everything that its agents reported
    agents: list[AgentEntry]
    unreported: int = 0  # watchers that acknowledge and never report
    unreported_ago_s: float | None = None  # since there was one last
    left_out: int = 0  # agents that it has forgotten
    direct: tuple[Asked, ...] = ()  # what was looked up at the replica itself, since its start
    direct_s: float = 0.0  # for how long that was counted
    direct_left_out: int = 0
    knows_all: bool = True  # services, and its peers


class _Known:
    """One agent: its latest report, when that came, and what it asked for: count and last time."""

    __slots__ = ("at", "heard_at", "left_out_at", "pairs", "registry", "report")

    def __init__(self, report: AgentReport, at: float, heard_at: float) -> None:
        self.heard_at = heard_at  # later than `at` where a follower has told it
        self.registry = ""
        self.report = report
        self.at = at
        self.left_out_at: float | None = at if report.left_out else None
        self.pairs: dict[tuple[str, Face], tuple[int, float]] = {}  # the latest news last


class AgentLedger:
    """The agents that reported to one replica. `now` is monotonic time in seconds."""

    def __init__(self, now: float, limits: LedgerLimits | None = None) -> None:
        self._limits = limits if limits is not None else LedgerLimits()
        self._agents: OrderedDict[str, _Known] = OrderedDict()  # the latest report last
        self._complete_since = now
        self.pairs = 0
        self.pairs_left_out = 0
        self.agents_left_out = 0

    def __len__(self) -> int:
        return len(self._agents)

    def take(self, report: AgentReport, now: float) -> bool:
        """Take a report in; return False when a later one of that agent came before it."""
        agent_id = agent_id_of(report.key)
        known = self._agents.get(agent_id)
        is_news = known is None or report.sequence > known.report.sequence
        if known is None:
            known = self._agents[agent_id] = _Known(report, now, now)
        elif is_news:
            if report.left_out > known.report.left_out:
                known.left_out_at = now
            known.report, known.at, known.heard_at, known.registry = report, now, now, ""
            self._agents.move_to_end(agent_id)
        self._add(known, report.usage, now)
        known.report = msgspec.structs.replace(known.report, key="0" * len(report.key), usage=())
        self._make_room()
        return is_news

    def take_entry(self, entry: AgentEntry, now: float, registry: str) -> None:
        """Take in what the follower `registry` knows of an agent that reports to it, or to one below."""
        report, at = entry.report, now - entry.reported_ago_s
        known = self._agents.get(entry.agent_id)
        if known is None:
            known = self._agents[entry.agent_id] = _Known(report, at, now)
            known.registry = entry.registry or registry
        elif report.sequence > known.report.sequence:
            known.report, known.at, known.heard_at = report, at, now
            known.registry = entry.registry or registry
            self._agents.move_to_end(entry.agent_id)
        if entry.left_out_ago_s is not None:
            left_out_at = now - entry.left_out_ago_s
            known.left_out_at = left_out_at if known.left_out_at is None else max(known.left_out_at, left_out_at)
        self._add(known, report.usage, now)
        known.report = msgspec.structs.replace(known.report, key="0" * len(report.key), usage=())
        self._make_room()

    def heard_since(self, at: float) -> list[str]:
        """Return the ids of the agents whose latest report came here after `at`, the latest first."""
        news = takewhile(lambda one: one[1].heard_at > at, reversed(self._agents.items()))
        return [agent_id for agent_id, _ in news]

    def reports(self) -> Iterator[tuple[AgentReport, float]]:
        """Yield the latest report of each agent, without its usage, and when it came."""
        return ((known.report, known.at) for known in self._agents.values())

    def ids(self) -> list[str]:
        """Return the ids of all agents, for `entry`."""
        return list(self._agents)

    def entry(self, agent_id: str, now: float, *, with_usage: bool = True) -> AgentEntry | None:
        """Return what is known of an agent; None when it was forgotten."""
        known = self._agents.get(agent_id)
        if known is None:
            return None
        usage = (Asked(service, face, count, _age(last, now)) for (service, face), (count, last) in known.pairs.items())
        return AgentEntry(
            agent_id=agent_id,
            report=msgspec.structs.replace(known.report, usage=tuple(usage)) if with_usage else known.report,
            reported_ago_s=_age(known.at, now),
            left_out_ago_s=None if known.left_out_at is None else _age(known.left_out_at, now),
            registry=known.registry,
        )

    def complete_s(self, now: float) -> float:
        """Return for how long nothing that was asked has been forgotten."""
        return round(max(0.0, min(now - self._complete_since, self._limits.kept_s)), 3)

    def tidy(self, now: float) -> None:
        """Forget what is older than it may be."""
        before = now - self._limits.kept_s
        for agent_id in [agent_id for agent_id, known in self._agents.items() if known.at < before]:
            self._forget(agent_id)

    def _add(self, known: _Known, usage: tuple[Asked, ...], now: float) -> None:
        for asked in usage:
            pair, last = (label_of(asked.label), asked.face), now - asked.ago_s  # `label_of` shares one string
            count = asked.count
            if (before := known.pairs.pop(pair, None)) is not None:
                count, last = max(count, before[0]), max(last, before[1])
            else:
                self.pairs += 1
            known.pairs[pair] = (count, last)
            if len(known.pairs) > self._limits.agent_pairs:
                self._leave_out(known, 1)
        while self.pairs > self._limits.pairs:
            self._leave_out(next(one for one in self._agents.values() if one.pairs), _GO_AT_ONCE)

    def _make_room(self) -> None:
        while len(self._agents) > self._limits.agents:
            self._forget(next(iter(self._agents)))
            self.agents_left_out += 1

    def _leave_out(self, known: _Known, count: int) -> None:
        for _ in range(min(count, len(known.pairs))):
            _, last = known.pairs.pop(next(iter(known.pairs)))
            self.pairs -= 1
            self.pairs_left_out += 1
            self._complete_since = max(self._complete_since, last)

    def _forget(self, agent_id: str) -> None:
        known = self._agents.pop(agent_id)
        self.pairs -= len(known.pairs)
        last = max((last for _, last in known.pairs.values()), default=-math.inf)
        self._complete_since = max(self._complete_since, last)


def _age(at: float, now: float) -> float:
    return round(max(0.0, now - at), 3)
