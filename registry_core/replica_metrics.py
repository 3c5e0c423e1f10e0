"""Builds the metrics of one replica: which part exports what. Nothing is counted here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from registry_core.api.audit_metrics import add_audit_metrics
from registry_core.api.certificate_gauges import add_certificate_gauges
from registry_core.api.certificates import Certificates
from registry_core.api.connections import Connections
from registry_core.api.gauges import add_gauges, add_tls_gauges
from registry_core.api.health import Health
from registry_core.api.hub import WatchHub
from registry_core.api.peers import Peers
from registry_core.api.request_limits import RequestLimits
from registry_core.api.store_gauges import add_store_gauges
from registry_core.api.view import ReplicaView
from registry_core.api.view_gauges import add_view_gauges
from registry_core.api.view_measures import ViewMeasures
from registry_core.api.write_access import WriteAccess
from registry_core.ports.audit import AuditTrail
from registry_core.ports.clock import Clock
from registry_core.ports.store import Store
from registry_core.replica_access import ReplicaAccess
from registry_core.replica_health import ReplicaHealth
from registry_core.replica_settings import ReplicaSettings
from registry_core.security.replica_tls import ReplicaTls
from registry_core.store.redis.tls import certificate_end
from registry_core.supervision import Background
from registry_core.telemetry.metrics import ReplicaMetrics
from registry_core.telemetry.system import SystemSampler


class MeasuredReplica(Protocol):
    """The parts of a replica that export something. They are read at each scrape: tests replace the store."""

    settings: ReplicaSettings
    metrics: ReplicaMetrics
    store: Store
    view: ReplicaView
    hub: WatchHub
    limits: RequestLimits
    certificates: Certificates
    tls: ReplicaTls
    health: ReplicaHealth


def add_metrics(
    replica: MeasuredReplica,
    *,
    version: str,
    measures: ViewMeasures,
    access: WriteAccess,
    callers: ReplicaAccess,
    refused: Mapping[str, float],
    audit: AuditTrail,
    peers: Peers,
    connections: Connections,
    sampler: SystemSampler,
    background: Background,
    clock: Clock,
) -> None:
    """Add everything that the parts of `replica` export to its metrics."""
    metrics, started_at = replica.metrics, clock.wall()
    about = (version, "registry", replica.settings.zone)
    metrics.gauges(
        "vertice_build_info",
        "1, with the release of this program and where it runs.",
        ("version", "component", "zone"),
        lambda: {about: 1},
    )
    metrics.gauge("vertice_start_time_seconds", "When this program started, in Unix seconds.", lambda: started_at)
    metrics.gauges("registry_health", "1 for the present status of /health.", "status", lambda: _statuses(replica))
    add_gauges(
        metrics,
        replica.view,
        replica.store,
        access,
        limits=replica.limits,
        connections=connections,
        sampler=sampler,
        background=background,
    )
    add_view_gauges(metrics, replica.view, measures, replica.hub)
    add_store_gauges(metrics, replica.store.shards)
    add_audit_metrics(metrics, audit.report)
    callers.add_metrics(metrics, refused)
    replica.certificates.add_metrics(metrics)
    add_tls_gauges(metrics, replica.tls)
    add_certificate_gauges(metrics, lambda: _ends(replica, peers, clock), clock.wall)


def _statuses(replica: MeasuredReplica) -> dict[str, float]:
    status = replica.health.status()
    return {each.value: float(each is status) for each in Health}


def _ends(replica: MeasuredReplica, peers: Peers, clock: Clock) -> dict[str, float | None]:
    port, redis = replica.tls.health(), replica.settings.redis
    authority_s = replica.certificates.ends_in_s()
    return {
        "port": None if port is None else port.expires_at,
        "peers": None if peers.tls is None else peers.tls.health().expires_at,
        "store": None if redis is None else certificate_end(redis),
        "authority": None if authority_s is None else clock.wall() + authority_s,
    }
