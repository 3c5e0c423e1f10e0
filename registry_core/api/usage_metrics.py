"""Exports what a replica knows of agents as metrics, read at each scrape."""

from __future__ import annotations

from collections import Counter
from typing import Final

from registry_core.api.usage import AgentReports
from registry_core.telemetry.metrics import ReplicaMetrics
from registry_core.usage.limits import SILENT_LISTED_S
from registry_core.usage.merge import freshness_word, silent_after, state_of
from registry_core.usage.views import AgentState

# Versions that have a label of their own: those of the most agents.
MOST_VERSIONS: Final = 8
OTHER: Final = "other"


def agents_by_label(reports: AgentReports) -> dict[tuple[str, ...], float]:
    """Return how many agents there are for each version and freshness; rare versions are counted as `other`."""
    now, silent_after_s = reports.now(), silent_after(reports.every_s)
    states = [
        (report, state)
        for report, at in reports.ledger.reports()
        if now - at <= SILENT_LISTED_S and (state := state_of(report, now - at, silent_after_s)) is not AgentState.ENDED
    ]
    versions = Counter(report.version for report, _ in states)
    named = {version for version, _ in versions.most_common(MOST_VERSIONS)}
    counts: Counter[tuple[str, ...]] = Counter(
        (report.version if report.version in named else OTHER, freshness_word(report, state))
        for report, state in states
    )
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
