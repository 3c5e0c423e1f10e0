"""Exports the state of a store's shards as metrics, read at each scrape. A store in this process has no shards."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from registry_core.ports.reports import ShardReport
from registry_core.telemetry.metrics import ReplicaMetrics


def add_store_gauges(metrics: ReplicaMetrics, shards: Callable[[], Sequence[ShardReport]]) -> None:
    """Add the metrics of `shards` to `metrics`."""

    def each(value: Callable[[ShardReport], float]) -> Callable[[], dict[str, float]]:
        return lambda: {report.shard: value(report) for report in shards()}

    metrics.gauges(
        "registry_feed_age_seconds",
        "How old this replica's view of a shard is; infinite when it was never read.",
        "shard",
        each(lambda report: math.inf if report.age_s is None else report.age_s),
    )
    metrics.gauges(
        "registry_store_writes_waiting",
        "Writes to a shard that are not acknowledged yet.",
        "shard",
        each(lambda report: report.writes_waiting),
    )
    metrics.gauges(
        "registry_store_copies",
        "Replicas of a shard's master that hold what it had some seconds ago; NaN without a master.",
        "shard",
        each(lambda report: math.nan if report.copies is None else report.copies),
    )
    metrics.gauges(
        "registry_store_entries_set_aside",
        "Entries of a shard that cannot be read.",
        "shard",
        each(lambda report: report.set_aside),
    )
    metrics.counters(
        "registry_store_failovers",
        "Times that another server became the master of a shard.",
        "shard",
        each(lambda report: report.failovers),
    )
    metrics.counters(
        "registry_store_not_replicated",
        "Writes that failed because too few replicas of a shard confirmed them.",
        "shard",
        each(lambda report: report.not_replicated),
    )
    metrics.gauges(
        "registry_store_connections",
        "Connections to the master of a shard.",
        ("shard", "state"),
        lambda: _connections(shards()),
    )
    metrics.gauges(
        "registry_store_connections_limit",
        "The most connections to the master of a shard.",
        "shard",
        lambda: {
            report.shard: report.connection_pool.most for report in shards() if report.connection_pool is not None
        },
    )


def _connections(shards: Sequence[ShardReport]) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for report in shards:
        pool = report.connection_pool
        found[report.shard, "in_use"] = 0 if pool is None else pool.in_use
        found[report.shard, "idle"] = 0 if pool is None else pool.idle
    return found
