"""Exports a replica's view, as a cache, and its watch as metrics, read at each scrape."""

from __future__ import annotations

import math

from registry_core.api.hub import WatchHub
from registry_core.api.view import ReplicaView
from registry_core.api.view_measures import ViewMeasures
from registry_core.telemetry.metrics import ReplicaMetrics


def add_view_gauges(metrics: ReplicaMetrics, view: ReplicaView, measures: ViewMeasures, hub: WatchHub) -> None:
    """Add the metrics of the view and of the watch to `metrics`."""
    metrics.gauge(
        "registry_cache_hit_rate",
        "Share of the lookups of the last minute that the view could answer, 0 to 1; NaN for too few lookups.",
        lambda: math.nan if measures.hit_rate is None else measures.hit_rate,
    )
    metrics.gauges(
        "registry_cache_size_bytes",
        "Estimated memory of the view, and that of the events from which broken watches resume.",
        "cache",
        lambda: {"view": measures.bytes, "history": hub.history.size},
    )
    metrics.counters(
        "cache_hits",
        "Lookups that the view could answer, also with the certainty that a service does not exist.",
        "cache",
        lambda: {"view": measures.hits},
    )
    metrics.counters(
        "cache_misses",
        "Lookups that the view could not answer: it is warming, or a shard is not followed.",
        "cache",
        lambda: {"view": measures.misses},
    )
    metrics.counters(
        "cache_evictions",
        "Entries dropped to make room: events from which a watch could have resumed. The view drops nothing.",
        "cache",
        lambda: {"view": 0, "history": hub.history.dropped},
    )
    metrics.gauge(
        "cache_age_seconds",
        "Seconds since the store last confirmed the view; infinite when it never did.",
        view.store_age_s,
    )
    metrics.gauge("registry_watchers", "Open watch streams.", lambda: len(hub))
    metrics.gauge("registry_watch_behind", "Readers that have not got a change of more than a second ago.", hub.behind)
    metrics.counters(
        "registry_watch_snapshots",
        "Snapshots begun for readers, by the reason: a new reader, another history, too far behind, too slow.",
        "kind",
        lambda: dict.fromkeys(("start", "epoch", "behind", "lagged"), 0) | hub.counts.snapshots,
    )
    metrics.counter("registry_watch_octets", "Octets written to readers.", lambda: hub.counts.octets)
    metrics.counter(
        "registry_watch_events", "Changes of the view, each once, however many readers.", lambda: hub.counts.events
    )
