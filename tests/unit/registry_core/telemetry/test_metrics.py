"""The metrics of operations and requests, as Prometheus reads them."""

from __future__ import annotations

import pytest

from registry_core.errors import NotFound
from registry_core.telemetry.metrics import ReplicaMetrics


def counted(metrics: ReplicaMetrics, line: str) -> float:
    """Return the value of one line of the exposition."""
    (found,) = (row for row in metrics.exposition().decode().splitlines() if row.startswith(f"{line} "))
    return float(found.rpartition(" ")[2])


def test_an_operation_is_counted_by_its_outcome_and_its_error_is_raised() -> None:
    metrics = ReplicaMetrics()
    for _ in range(2):
        with metrics.operation("register"):
            pass
        with pytest.raises(NotFound), metrics.operation("register"):
            raise NotFound("there is none")
    assert counted(metrics, 'registry_operations_total{operation="register",status="success"}') == 2
    assert counted(metrics, 'registry_operations_total{operation="register",status="NotFound"}') == 2
    assert counted(metrics, 'registry_operation_duration_seconds_count{operation="register"}') == 4


def test_requests_are_counted_by_their_route_and_odd_methods_as_one() -> None:
    metrics = ReplicaMetrics()
    for method, status in (("GET", 200), ("GET", 200), ("GET", 404), ("BREW", 405), ("WHEN", 405)):
        metrics.request("/services", method, status, 0.001)
    name = "registry_request_duration_seconds_count"
    assert counted(metrics, f'{name}{{endpoint="/services",method="GET",status="200"}}') == 2
    assert counted(metrics, f'{name}{{endpoint="/services",method="GET",status="404"}}') == 1
    assert counted(metrics, f'{name}{{endpoint="/services",method="other",status="405"}}') == 2
