"""The metrics of agents: a label for the most used releases, and one for all others."""

from __future__ import annotations

from registry_core.api.hub import WatchHub
from registry_core.api.peers import Peers
from registry_core.api.usage import AgentReports
from registry_core.api.usage_metrics import MOST_VERSIONS, add_usage_metrics, agents_by_label
from registry_core.api.usage_settings import UsageSettings
from registry_core.api.view import ReplicaView
from registry_core.supervision import Background
from registry_core.telemetry.metrics import ReplicaMetrics
from registry_core.usage.report import AgentReport
from registry_core.watch.cursor import Cursor
from tests.samples import FakeClock


def reports_of(hub: WatchHub, number: int) -> str:
    """Open the watch of one agent, and return its id."""
    return hub.open(Cursor(), watcher_id=f"w{number}").id


def test_rare_releases_share_a_label_and_ended_agents_have_none() -> None:
    clock = FakeClock()
    view = ReplicaView(clock, ttl_s=60.0, warming_s=60.0, store_age_s=lambda: 0.0)
    hub = WatchHub(view)
    reports = AgentReports(hub, view, Peers(()), UsageSettings(), clock=clock, background=Background(clock))
    for number in range(2 * MOST_VERSIONS + 2):
        version = f"1.{number // 2}" if number < 2 * MOST_VERSIONS else f"0.{number}"
        watcher = reports_of(hub, number)
        reports.take(watcher, AgentReport(key=f"{number:032x}", sequence=1, version=version, freshness="fresh"))
    reports.take(reports_of(hub, 99), AgentReport(key="f" * 32, sequence=1, version="1.0", ending=True))
    counts = agents_by_label(reports)
    assert counts == {(f"1.{n}", "fresh"): 2 for n in range(MOST_VERSIONS)} | {("other", "fresh"): 2}
    metrics = ReplicaMetrics()
    add_usage_metrics(metrics, reports)
    assert metrics.registry.get_sample_value("agent_reports_total", {"result": "taken"}) == 19
