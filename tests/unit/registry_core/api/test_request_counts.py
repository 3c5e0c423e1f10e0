"""Requests are counted by what they are for."""

from __future__ import annotations

from registry_core.api.deployment_schemas import RequestTotals
from registry_core.api.request_counts import request_counts
from registry_core.telemetry.metrics import ReplicaMetrics


def test_lookups_writes_refusals_and_failures_are_told_apart() -> None:
    metrics = ReplicaMetrics()
    for path, method, status, times in (
        ("/services/{service}", "GET", 200, 5),
        ("/services/{service}", "HEAD", 404, 2),
        ("/register", "POST", 201, 3),
        ("/heartbeat", "POST", 503, 1),
        ("/health", "GET", 200, 4),
        ("unmatched", "GET", 404, 1),
    ):
        for _ in range(times):
            metrics.request(path, method, status, 0.001)
    assert request_counts(metrics.requests()) == RequestTotals(lookups=7, writes=4, other=5, refused=3, failed=1)
