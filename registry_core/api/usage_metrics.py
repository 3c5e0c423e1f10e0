"""Exports what a replica knows of agents as metrics, read at each scrape."""

from __future__ import annotations

from collections import Counter
from typing import Final

from registry_core.api.usage import AgentReports
from registry_core.telemetry.metrics import ReplicaMetrics
from registry_core.usage.merge import freshness_word, merged
from registry_core.usage.views import AgentState

# Versions that have a label of their own: those of the most agents.
MOST_VERSIONS: Final = 8
OTHER: Final = "other"


def agents_by_label(reports: AgentReports) -> dict[tuple[str, ...], float]:
    """Return how many agents there are for each version and freshness; rare versions are counted as `other`."""
    there = [one for one in merged([reports.part()]) if one.state is not AgentState.ENDED]
    versions = Counter(one.entry.report.version for one in there)
    named = {version for version, _ in versions.most_common(MOST_VERSIONS)}
    counts: Counter[tuple[str, ...]] = Counter()
    for one in there:
        version = one.entry.report.version
        counts[version if version in named else OTHER, freshness_word(one.entry, one.state)] += 1
    return dict(counts)


def add_usage_metrics(metrics: ReplicaMetrics, reports: AgentReports) -> None:
    """Add the metrics of agents' reports to `metrics`."""
    metrics.gauges(
        "registry_agents",
        "Agents that reported to this replica last, by release and by how fresh their views are.",
        ("version", "freshness"),
        lambda: agents_by_label(reports),
    )
    metrics.counters("agent_reports", "Reports of agents, by what became of them.", "result", lambda: reports.results)
    metrics.gauge(
        "registry_agents_unreported",
        "Watchers that acknowledge and do not report: agents of an older release, or without a right to report.",
        lambda: reports.unreported,
    )
    metrics.gauge(
        "registry_usage_pairs", "Pairs of an agent and a service that it asked for.", lambda: reports.ledger.pairs
    )
    metrics.counters(
        "registry_usage_left_out",
        "What was forgotten for lack of room.",
        "what",
        lambda: {"pairs": reports.ledger.pairs_left_out, "agents": reports.ledger.agents_left_out},
    )
