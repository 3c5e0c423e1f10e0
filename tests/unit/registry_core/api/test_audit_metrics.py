"""The metrics of the audit."""

from __future__ import annotations

from registry_core.api.audit_metrics import add_audit_metrics
from registry_core.ports.audit import AuditReport
from registry_core.telemetry.metrics import ReplicaMetrics


def test_what_the_audit_reports_is_exported() -> None:
    metrics = ReplicaMetrics()
    report = AuditReport(status="failing", size=17, countersigned_size=9, waiting=3, lost=2, disputes=1)
    add_audit_metrics(metrics, lambda: report)
    text = metrics.exposition().decode()
    for line in (
        "registry_audit_lines 17.0",
        "registry_audit_countersigned_lines 9.0",
        "registry_audit_waiting 3.0",
        "registry_audit_failing 1.0",
        'registry_audit_faults_total{kind="lost"} 2.0',
        'registry_audit_faults_total{kind="disputed"} 1.0',
    ):
        assert line in text
