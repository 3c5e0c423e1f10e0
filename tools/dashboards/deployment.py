"""The dashboard of a deployment: its replicas, what they serve, and how fast."""

from __future__ import annotations

from typing import Final

from cli.slo.levels import HEARTBEAT_MS, LOOKUP_MS, REGISTRATION_MS, VISIBLE_S, latency_query
from tools.dashboards.panels import (
    BYTES,
    BYTES_PER_S,
    INSTANCES_OF_REGISTRY,
    PER_SECOND,
    PERCENT,
    RATE,
    REGISTRY,
    SECONDS,
    SHARE,
    Dashboard,
    Panel,
    PanelQuery,
    PanelRow,
    above,
    concern,
    figure,
    percentiles,
    rate_by,
    series,
    table,
)

DAY_S: Final = 86_400


def _latency(title: str, endpoint: str, method: str, bounds_ms: tuple[float, float, float]) -> Panel:
    queries = tuple(PanelQuery(latency_query(endpoint, method, each / 100, RATE), f"p{each}") for each in (50, 95, 99))
    shown = ", ".join(f"{bound:g}" for bound in bounds_ms)
    meaning = (
        f"How long `{method} {endpoint}` takes at the replicas, over all of them. The service level is p50, p95, p99 "
        f"below {shown} ms; the line is that of p99. Refusals by a limit are left out."
    )
    steps = above((bounds_ms[2] / 1000, "red"))
    return series(title, meaning, *queries, unit=SECONDS, steps=steps, width=8, alerts=("RegistrySlow",))


GLANCE: Final = PanelRow(
    "At a glance",
    (
        figure(
            "Replicas that answer",
            "Replicas that Prometheus reached at its last scrape.",
            'sum(up{job="registry"})',
            below="red",
            steps=above((1, "orange"), (2, "green")),
            alerts=("RegistryDown", "RegistryFewReplicasAnswer", "RegistryReplicaAway", "ZoneAway"),
        ),
        figure(
            "Agents that answer",
            "Agents that Prometheus reached at its last scrape, of those that it knows.",
            'sum(up{job="agent"}) / count(up{job="agent"})',
            SHARE,
            below="red",
            steps=above((0.9, "orange"), (1, "green")),
            alerts=("AgentAway",),
        ),
        figure("Services", "Services with at least one instance.", "max(registry_active_services)"),
        figure("Instances", "Registered instances, whatever their status.", "max(registry_instances)"),
        figure(
            "Suspects",
            "Instances that are kept although their leases have ended, while the guard holds a mass expiry back.",
            "max(registry_suspect_instances)",
            steps=concern(1, 10),
            alerts=("RegistryHoldsBackAMassExpiry",),
        ),
        figure(
            "Alerts",
            "Alerts that fire now.",
            'count(ALERTS{alertstate="firing"}) or vector(0)',
            steps=concern(1, 3),
        ),
        table(
            "Health by replica",
            "The status in `/health` of each replica, its version and its zone.",
            PanelQuery(
                "registry_health == 1 and on (instance) up == 1",
            ),
            width=12,
            height=7,
            alerts=("RegistryUnhealthy",),
        ),
        table(
            "Versions",
            "How many programs of each version run.",
            PanelQuery('count by (component, version, zone) (vertice_build_info{job=~"registry|agent"})'),
            width=12,
            height=7,
            alerts=("AgentsOfTwoVersions",),
        ),
    ),
)
TRAFFIC: Final = PanelRow(
    "Traffic",
    (
        series(
            "Lookups",
            "Lookups of services at the replicas, by result: found, absent (a certain no), unknown (the replica "
            "could not tell), refused.",
            rate_by("registry_lookups_total", REGISTRY, "result"),
            unit=PER_SECOND,
            stacked=True,
            width=8,
        ),
        series(
            "Operations",
            "Registrations, heartbeats and the other operations.",
            rate_by("registry_operations_total", REGISTRY, "operation"),
            unit=PER_SECOND,
            stacked=True,
            width=8,
        ),
        series(
            "Requests that failed",
            "Answers with a 5xx status, by endpoint: faults of the replica or of its store.",
            PanelQuery(
                "sum by (endpoint, status) (rate(registry_request_duration_seconds_count"
                f'{{{REGISTRY},status=~"5.."}}[{RATE}]))',
                "{{endpoint}} {{status}}",
            ),
            unit=PER_SECOND,
            steps=above((0.1, "red")),
            width=8,
            alerts=("AvailabilityBurnsFast", "AvailabilityBurnsSlowly", "RegistryCannotWrite"),
        ),
        series(
            "Refused for a limit, or shed",
            "Requests over a limit (429), and requests that a replica refused because it had too much to do (503).",
            rate_by("registry_requests_limited_total", REGISTRY, "limit"),
            PanelQuery(f"sum by (worth) (rate(registry_requests_shed_total{{{REGISTRY}}}[{RATE}]))", "shed: {{worth}}"),
            unit=PER_SECOND,
            width=8,
        ),
        series(
            "Refused for credentials",
            "Requests whose sender could not prove who it is, or may not do that, by reason.",
            rate_by("registry_refusals_total", REGISTRY, "reason"),
            unit=PER_SECOND,
            width=8,
            alerts=("RegistryRefusesAllWrites",),
        ),
        series(
            "In flight",
            "Requests that are being carried out, and open connections.",
            PanelQuery(f"sum by (instance) (registry_requests_in_flight{{{REGISTRY}}})", "{{instance}} requests"),
            PanelQuery(f"sum by (instance) (registry_connections{{{REGISTRY}}})", "{{instance}} connections"),
            width=8,
        ),
    ),
)
LATENCY: Final = PanelRow(
    "Latency",
    (
        _latency("Lookups", "/services/{service}", "GET", LOOKUP_MS),
        _latency("Registrations", "/register", "POST", REGISTRATION_MS),
        _latency("Heartbeats", "/heartbeat", "POST", HEARTBEAT_MS),
    ),
)
VIEW: Final = PanelRow(
    "Views and processes",
    (
        series(
            "Age of the view",
            "How long ago each replica last heard from a shard of its store. Lookups are answered from this view.",
            PanelQuery(f"registry_feed_age_seconds{{{REGISTRY}}}", "{{instance}} {{shard}}"),
            unit=SECONDS,
            steps=above((5, "red")),
            width=8,
            alerts=("RegistryViewOld",),
        ),
        series(
            "Ready",
            "1 if a missing name is certain not to exist; 0 while a replica is warming.",
            PanelQuery(f"registry_ready{{{REGISTRY}}}", "{{instance}}"),
            width=8,
            most=1,
            alerts=("RegistryWarming",),
        ),
        series(
            "Lookups answered from the view",
            "The share of lookups in the last minute that the view could answer; `/health` is degraded below 70 %.",
            PanelQuery(f"registry_cache_hit_rate{{{REGISTRY}}}", "{{instance}}"),
            unit=SHARE,
            width=8,
            most=1,
        ),
        series(
            "CPU",
            "Processor time of each replica; 100 % is one core. `/health` is degraded from 70 % on.",
            PanelQuery(f"registry_cpu_percent{{{REGISTRY}}}", "{{instance}}"),
            unit=PERCENT,
            steps=concern(70, 85),
            width=8,
        ),
        series(
            "Memory",
            "Resident memory of each replica.",
            PanelQuery(f"registry_memory_bytes{{{REGISTRY}}}", "{{instance}}"),
            unit=BYTES,
            width=8,
        ),
        series(
            "Restarts within, and standstills",
            "Background tasks that died and were started again, and times that a whole process stood still.",
            rate_by("registry_background_restarts_total", REGISTRY, "task"),
            PanelQuery(
                f"sum by (instance) (rate(registry_standstills_total{{{REGISTRY}}}[{RATE}]))", "{{instance}} stood"
            ),
            unit=PER_SECOND,
            width=8,
            alerts=("BackgroundTaskDies",),
        ),
    ),
)
WATCH: Final = PanelRow(
    "The watch",
    (
        series(
            "Readers",
            "Open watch streams, and those that are behind.",
            PanelQuery(f"sum by (instance) (registry_watchers{{{REGISTRY}}})", "{{instance}}"),
            PanelQuery(f"sum by (instance) (registry_watch_behind{{{REGISTRY}}})", "{{instance}} behind"),
            width=8,
        ),
        series(
            "From a change to its readers",
            "How long a change takes from the replica to a reader's socket. It is to be visible everywhere within 1 s.",
            *percentiles("registry_watch_lag_seconds", REGISTRY),
            unit=SECONDS,
            steps=above((VISIBLE_S, "red")),
            width=8,
        ),
        series(
            "Snapshots",
            "Whole snapshots that were sent, and why: a start, a new epoch of the store, a reader too far behind.",
            rate_by("registry_watch_snapshots_total", REGISTRY, "kind"),
            unit=PER_SECOND,
            width=8,
        ),
        series(
            "Events",
            "Changes that were sent to readers.",
            PanelQuery(f"sum by (instance) (rate(registry_watch_events_total{{{REGISTRY}}}[{RATE}]))", "{{instance}}"),
            unit=PER_SECOND,
        ),
        series(
            "Octets",
            "What the watch sends.",
            PanelQuery(f"sum by (instance) (rate(registry_watch_octets_total{{{REGISTRY}}}[{RATE}]))", "{{instance}}"),
            unit=BYTES_PER_S,
        ),
    ),
)
TRUST: Final = PanelRow(
    "Audit and certificates",
    (
        series(
            "Audit without a countersignature",
            "Lines of each replica's audit log that no other replica has signed yet.",
            PanelQuery(
                f"registry_audit_lines{{{REGISTRY}}} - registry_audit_countersigned_lines{{{REGISTRY}}}",
                "{{instance}}",
            ),
            width=8,
            alerts=("AuditNotCountersigned", "AuditDisputed"),
        ),
        series(
            "Audit that cannot be written",
            "Entries that wait for the disk, and faults by kind.",
            PanelQuery(f"registry_audit_waiting{{{REGISTRY}}}", "{{instance}} waiting"),
            PanelQuery(
                f"sum by (kind) (increase(registry_audit_faults_total{{{REGISTRY}}}[1m]))",
                "faults in the last minute: {{kind}}",
            ),
            width=8,
            alerts=("AuditNotWritten",),
        ),
        series(
            "Certificates end in",
            "Time until the first certificate of each use ends.",
            PanelQuery(
                f"min by (instance, use) (registry_certificate_ends_seconds{{{REGISTRY}}})", "{{instance}} {{use}}"
            ),
            unit=SECONDS,
            below="red",
            steps=above((DAY_S, "orange"), (7 * DAY_S, "green")),
            width=8,
            alerts=("RegistryCertificateEnds", "RegistryTlsFilesUnusable", "AuthorityEnds"),
        ),
    ),
)
DEPLOYMENT: Final = Dashboard(
    "deployment",
    "Vértice: deployment",
    "The replicas of a deployment, what they serve, and how fast.",
    (GLANCE, TRAFFIC, LATENCY, VIEW, WATCH, TRUST),
    INSTANCES_OF_REGISTRY,
    (("Starts", PanelQuery('changes(vertice_start_time_seconds{job="registry"}[1m]) > 0', "{{instance}} started")),),
)
