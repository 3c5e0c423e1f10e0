"""Names of metrics that dashboards, rules and people's habits depend on do not vanish, nor lose a label."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tools.metrics_page import metrics
from tools.sources import ROOT

# The names that every release has, by program, with their labels.
REGISTRY: Final = {
    "registry_operations_total": ("operation", "status"),
    "registry_operation_duration_seconds": ("operation",),
    "registry_active_services": (),
    "registry_circuit_breaker_state": ("state",),
    "registry_cache_hit_rate": (),
    "registry_cache_size_bytes": ("cache",),
    "cache_hits_total": ("cache",),
    "cache_misses_total": ("cache",),
    "cache_evictions_total": ("cache",),
    "cache_age_seconds": (),
    "registry_request_duration_seconds": ("endpoint", "method", "status"),
    "registry_redis_latency_seconds": ("shard",),
    "registry_health_check_failures_total": (),
    "expired_services_total": (),
    "registry_memory_bytes": (),
    "registry_cpu_percent": (),
    "registry_ready": (),
    "registry_refuses_all_writes": (),
    "registry_refusals_total": ("reason",),
    "registry_writes_refused_total": ("error",),
    "registry_guarded_shards": (),
    "registry_suspect_instances": (),
    "registry_background_restarts_total": ("task",),
    "registry_connections_closed_total": ("reason",),
    "registry_standstills_total": (),
    "registry_stale_writes_refused_total": (),
    "registry_audit_failing": (),
    "registry_audit_faults_total": ("kind",),
    "registry_requests_limited_total": ("limit",),
    "registry_tls_certificate_expires": (),
}
AGENT: Final = {
    "agent_dns_queries_total": ("type", "rcode"),
    "agent_check_results_total": ("kind", "result"),
    "agent_check_flaps_total": (),
    "agent_config_reload_failed": (),
    "agent_sync_lag_seconds": (),
    "agent_sync_connected": (),
    "agent_sync_passed_over_total": (),
    "agent_background_restarts_total": ("task",),
    "agent_healthy": (),
    "agent_refused_services": (),
    "agent_loss_guard_holding": (),
    "agent_loss_guard_total": (),
    "agent_registry_in_use": ("registry", "use"),
    "agent_registry_well": ("registry", "use"),
    "agent_registry_latency_seconds": ("registry",),
    "agent_registry_failures_total": ("registry", "trouble"),
    "agent_registry_moves_total": ("use", "why"),
    "agent_dns_too_late_total": (),
    "agent_dns_not_done_total": ("reason",),
    "agent_dns_work_waiting": (),
    "agent_dns_tcp_connections": (),
    "agent_dns_tcp_connections_closed_total": ("reason",),
    "agent_http_connections": (),
    "agent_http_connections_closed_total": ("reason",),
    "cache_age_seconds": (),
    "cache_evictions_total": ("cache",),
    "registry_cache_size_bytes": ("cache",),
}
# Names that the change log announces together with their removal.
REMOVED: Final = {"agent_dns_workers", "agent_dns_worker_restarts_total"}
_NAME: Final = re.compile(r"`((?:registry|agent|cache)_[a-z_]+_(?:total|seconds|bytes|percent))`")


@pytest.mark.parametrize(("program", "names"), [("registry", REGISTRY), ("agent", AGENT)])
def test_no_name_vanishes_and_none_loses_a_label(program: str, names: dict[str, tuple[str, ...]]) -> None:
    there = {metric.name: metric.labels for metric in metrics() if metric.program == program}
    assert {name: there.get(name) for name in names} == names


def test_every_name_that_the_change_log_announces_is_there() -> None:
    announced = set(_NAME.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")))
    assert len(announced) > 15
    assert announced - REMOVED <= {metric.name for metric in metrics()}


def test_a_name_is_one_kind_of_metric_with_one_meaning_in_each_program() -> None:
    found = [(metric.program, metric.name) for metric in metrics()]
    assert sorted(name for name in set(found) if found.count(name) > 1) == []
