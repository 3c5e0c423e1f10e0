"""The metrics of a whole replica, as it builds them, and of parts that such a replica does not have."""

from __future__ import annotations

import math
from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from registry_core.api.certificate_gauges import add_certificate_gauges
from registry_core.api.store_gauges import add_store_gauges
from registry_core.api.view_gauges import add_view_gauges
from registry_core.installed import VERSION
from registry_core.ports.reports import PoolReport
from registry_core.replica import Replica
from registry_core.replica_metrics import add_metrics
from registry_core.replica_settings import replica_settings
from registry_core.telemetry.metrics import ReplicaMetrics
from tests.samples import FakeClock, shard_report


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


async def test_a_replica_says_what_it_is_and_how_it_is() -> None:
    clock = FakeClock()
    registry = Replica(replica_settings({"REGISTRY_ZONE": "eu-1a"}), clock=clock).metrics.registry
    about = {"version": VERSION, "component": "registry", "zone": "eu-1a"}
    assert value(registry, "vertice_build_info", **about) == 1
    assert value(registry, "vertice_start_time_seconds") == clock.wall()
    statuses = {status: value(registry, "registry_health", status=status) for status in ("healthy", "unhealthy")}
    assert statuses == {"healthy": 1, "unhealthy": 0}
    clock.pass_time(60)  # nobody sweeps
    assert value(registry, "registry_health", status="degraded") == 1
    assert add_metrics.__doc__


async def test_the_view_is_shown_as_a_cache_and_every_kind_of_snapshot_has_its_series() -> None:
    replica = Replica(replica_settings({}), clock=FakeClock())
    registry = replica.metrics.registry
    rate = value(registry, "registry_cache_hit_rate")
    assert rate is not None
    assert math.isnan(rate)
    for _ in range(100):
        replica.metrics.ended("lookup", "NotFound", 0.001)
    assert value(registry, "registry_cache_hit_rate") == 1
    assert value(registry, "cache_hits_total", cache="view") == 100
    assert value(registry, "cache_misses_total", cache="view") == 0
    assert value(registry, "cache_evictions_total", cache="view") == 0
    for kind in ("start", "epoch", "behind", "lagged"):
        assert value(registry, "registry_watch_snapshots_total", kind=kind) == 0
    assert add_view_gauges.__doc__


def test_each_shard_has_its_series_also_before_it_was_read() -> None:
    metrics = ReplicaMetrics()
    well = shard_report("a", connection_pool=PoolReport(1, 5, 50), copies=2, failovers=3, writes_waiting=7)
    add_store_gauges(metrics, lambda: (well, shard_report("b", age_s=None, connection_pool=None)))
    registry = metrics.registry
    assert value(registry, "registry_feed_age_seconds", shard="a") == 0.5
    assert value(registry, "registry_feed_age_seconds", shard="b") == math.inf
    assert value(registry, "registry_store_copies", shard="a") == 2
    assert math.isnan(value(registry, "registry_store_copies", shard="b") or 0)
    assert value(registry, "registry_store_failovers_total", shard="a") == 3
    assert value(registry, "registry_store_writes_waiting", shard="a") == 7
    assert value(registry, "registry_store_connections", shard="a", state="idle") == 5
    assert value(registry, "registry_store_connections", shard="b", state="in_use") == 0
    assert value(registry, "registry_store_connections_limit", shard="a") == 50
    assert value(registry, "registry_store_connections_limit", shard="b") is None


def test_a_certificate_has_a_series_only_if_there_is_one() -> None:
    ends: Mapping[str, float | None] = {"port": 1500.0, "store": None}
    metrics = ReplicaMetrics()
    add_certificate_gauges(metrics, lambda: ends, lambda: 1000.0)
    assert value(metrics.registry, "registry_certificate_ends_seconds", use="port") == 500
    assert value(metrics.registry, "registry_certificate_ends_seconds", use="store") is None
