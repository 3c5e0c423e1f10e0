"""Exports what a follower knows of its upstreams as metrics, read at each scrape."""

from __future__ import annotations

import math

from registry_core.follow.link import UpstreamLink
from registry_core.follow.view import FollowerView
from registry_core.follow.watch import UpstreamWatch
from registry_core.telemetry.metrics import ReplicaMetrics


def add_follow_metrics(metrics: ReplicaMetrics, link: UpstreamLink, view: FollowerView, watch: UpstreamWatch) -> None:
    """Add the metrics of a follower. They are there for followers alone."""
    metrics.gauges(
        "registry_upstream_followed",
        "1 for the registry whose watch this follower reads at present.",
        "upstream",
        lambda: {url: float(watch.watching is not None and watch.watching.url == url) for url in link.urls},
    )
    metrics.gauge(
        "registry_upstream_age_seconds",
        "Seconds since the registry that this one follows confirmed what it answers from.",
        lambda: view.age_s() if view.loaded else math.inf,
    )
    metrics.counters(
        "registry_upstream_streams",
        "Watches of the registry that this one follows, by how they began or ended.",
        "event",
        lambda: {"resumed": watch.resumed, "read anew": view.snapshots, "lost": watch.losses},
    )
