"""Exports the state of the audit as metrics, read at each scrape."""

from __future__ import annotations

from collections.abc import Callable

from registry_core.ports.audit import AuditReport
from registry_core.telemetry.metrics import ReplicaMetrics


def add_audit_metrics(metrics: ReplicaMetrics, report: Callable[[], AuditReport]) -> None:
    """Add the metrics of the audit to `metrics`."""
    gauge = metrics.gauge
    gauge("registry_audit_lines", "Lines of the audit log, in all time.", lambda: report().size)
    gauge(
        "registry_audit_countersigned_lines",
        "Lines of the audit log under the newest head that another replica has signed as well.",
        lambda: report().countersigned_size,
    )
    gauge("registry_audit_waiting", "Entries that the audit log has not written yet.", lambda: report().waiting)
    gauge(
        "registry_audit_failing",
        "1 if the audit log cannot be written now.",
        lambda: report().status == "failing",
    )
    metrics.counters(
        "registry_audit_faults",
        "Entries that the audit could not keep, and heads that were in dispute between replicas.",
        "kind",
        lambda: _faults(report()),
    )


def _faults(report: AuditReport) -> dict[str, float]:
    return {"lost": report.lost, "disputed": report.disputes}
