"""Exports the state of a replica's parts as metrics. They are read at each scrape; nothing is counted here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from registry_core.api.connections import Connections
from registry_core.api.request_limits import RequestLimits
from registry_core.api.view import ReplicaState, ReplicaView
from registry_core.api.write_access import WriteAccess
from registry_core.domain.breaker import BreakerState
from registry_core.domain.guard import GuardPhase
from registry_core.ports.reports import ShardReport
from registry_core.ports.store import Store
from registry_core.security.certificate_health import CertificateHealth
from registry_core.security.replica_tls import ReplicaTls
from registry_core.supervision import Background
from registry_core.telemetry.metrics import ReplicaMetrics
from registry_core.telemetry.system import SystemSampler


def add_gauges(
    metrics: ReplicaMetrics,
    view: ReplicaView,
    store: Store,
    access: WriteAccess,
    *,
    limits: RequestLimits,
    connections: Connections,
    sampler: SystemSampler,
    background: Background,
) -> None:
    """Add the metrics of these parts to `metrics`."""
    gauge, catalog, guards, shards = metrics.gauge, view.catalog, store.guards, store.shards
    gauge("registry_active_services", "Services with at least one instance.", lambda: catalog.service_count)
    gauge("registry_instances", "Registered instances.", lambda: len(catalog))
    gauge(
        "registry_ready",
        "1 if a missing name is certain not to exist; 0 while the registry is warming.",
        lambda: view.state is ReplicaState.READY,
    )
    gauge(
        "registry_refuses_all_writes",
        "1 if writes were refused for their credentials lately, and none had a valid one.",
        lambda: access.refuses_all,
    )
    metrics.counters(
        "registry_writes_refused",
        "Registrations, heartbeats and changes of a status that were refused for their credentials.",
        "error",
        lambda: access.refusals.counts,
    )
    gauge(
        "registry_guarded_shards",
        "Shards whose guard holds back a mass expiry, or releases it by a budget.",
        lambda: sum(report.phase is not GuardPhase.CLEAR for report in guards()),
    )
    gauge(
        "registry_suspect_instances",
        "Instances that are kept although their leases have expired.",
        lambda: sum(report.suspects for report in guards()),
    )
    for state in BreakerState:
        metrics.breakers.labels(state.value).set_function(partial(_breakers_at, state, shards))
    metrics.counters(
        "registry_background_restarts",
        "Restarts of background tasks after they died.",
        "task",
        lambda: {one.task: one.restarts for one in background.report()},
    )
    metrics.counters(
        "registry_background_failures",
        "Deaths of background tasks.",
        "task",
        lambda: {one.task: one.failures for one in background.report()},
    )
    metrics.counters(
        "registry_requests_limited",
        "Requests, and heartbeats of batches, that were refused by a limit.",
        "limit",
        lambda: limits.refused,
    )
    metrics.counters(
        "registry_requests_shed",
        "Requests that were refused because this replica had too much to do.",
        "worth",
        lambda: limits.shedding.shed,
    )
    gauge("registry_requests_in_flight", "Requests being carried out.", lambda: limits.shedding.in_flight)
    gauge("registry_unread_answers", "Catalogues and watches that wait for their readers.", lambda: len(limits.unread))
    metrics.counters(
        "registry_unread_answers_ended",
        "Unread answers whose connection was closed for another reader, and readers that were refused for them.",
        "how",
        lambda: {"closed": limits.unread.closed, "refused": limits.unread.refused},
    )
    gauge("registry_connections", "Open connections.", lambda: len(connections.open))
    metrics.counters(
        "registry_connections_closed",
        "Connections that were closed or not accepted for a limit, by reason.",
        "reason",
        lambda: {why.value: count for why, count in connections.closed.items()},
    )
    gauge("registry_memory_bytes", "Resident memory of this process.", lambda: _known(sampler, "memory_bytes"))
    gauge("registry_cpu_percent", "CPU of this process, 100 is one core.", lambda: _known(sampler, "cpu_percent"))


def add_tls_gauges(metrics: ReplicaMetrics, tls: ReplicaTls) -> None:
    """Add the metrics of TLS on the port to `metrics`."""
    metrics.counters("registry_tls_handshakes", "Handshakes on the port, by their outcome.", "outcome", tls.handshakes)
    metrics.gauge(
        "registry_tls_certificate_expires",
        "When the certificate of the port ends, in Unix seconds; 0 without TLS.",
        lambda: _expiry(tls.health()),
    )
    metrics.gauge(
        "registry_tls_files_unusable",
        "1 if the files of TLS have changed and cannot be used, or the certificate is about to end.",
        lambda: bool((health := tls.health()) is not None and health.problem),
    )
    metrics.gauge(
        "registry_tls_client_certificates", "Open connections with a client's certificate.", lambda: len(tls.mutual)
    )


def _expiry(health: CertificateHealth | None) -> float:
    return health.expires_at or 0.0 if health is not None else 0.0


def _known(sampler: SystemSampler, field: str) -> float:
    sample = sampler.latest
    return float("nan") if sample is None else float(getattr(sample, field))


def _breakers_at(state: BreakerState, shards: Callable[[], Iterable[ShardReport]]) -> float:
    return float(sum(report.breaker is state for report in shards()))
