"""The dashboard of agents: how fresh what they answer is, and what they know of their own services."""

from __future__ import annotations

from typing import Final

from tools.dashboards.panels import (
    AGENT,
    BYTES,
    INSTANCES_OF_AGENTS,
    PER_SECOND,
    RATE,
    SECONDS,
    SHARE,
    Dashboard,
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
VIEW: Final = PanelRow(
    "The view",
    (
        figure(
            "Agents without a registry",
            "Agents whose watch is not connected; they go on answering with what they last knew.",
            f"sum(1 - agent_sync_connected{{{AGENT}}})",
            steps=concern(1, 3),
            alerts=("AgentWithoutRegistry",),
        ),
        figure(
            "Oldest view",
            "Seconds since a registry last confirmed the view of the agent that is furthest behind.",
            f"max(cache_age_seconds{{{AGENT}}})",
            SECONDS,
            steps=concern(30, 60),
            alerts=("AgentViewOld",),
        ),
        figure(
            "Answers that are fresh",
            "The share of answers from the view that a registry had confirmed lately.",
            f'sum(rate(agent_answers_total{{{AGENT},freshness="fresh"}}[{RATE}])) '
            f"/ sum(rate(agent_answers_total{{{AGENT}}}[{RATE}]))",
            SHARE,
            below="red",
            steps=above((0.9, "orange"), (0.999, "green")),
        ),
        figure(
            "Answers that could not be given",
            "Lookups that an agent could not answer either way: SERVFAIL over DNS, 503 over HTTP.",
            f'sum(rate(agent_answers_total{{{AGENT},freshness="unknown"}}[{RATE}]))',
            PER_SECOND,
            steps=above((0.01, "red")),
            alerts=("AgentCannotTell",),
        ),
        figure(
            "Held back by the loss guard",
            "Agents that hold a snapshot back because it would take too much from their view.",
            f"sum(agent_loss_guard_holding{{{AGENT}}})",
            steps=concern(1),
            alerts=("AgentHoldsBackASnapshot",),
        ),
        figure(
            "Refused services",
            "Services whose registration or heartbeat the registry refused.",
            f"sum(agent_refused_services{{{AGENT}}})",
            steps=concern(1),
        ),
        series(
            "Age of the view",
            "Seconds since a registry last confirmed the view of each agent.",
            PanelQuery(f"cache_age_seconds{{{AGENT}}}", "{{instance}}"),
            unit=SECONDS,
            steps=above((60, "red")),
            width=8,
            alerts=("AgentViewOld", "AgentWithoutRegistry"),
        ),
        series(
            "Answers by freshness",
            "Answers from the view: fresh, stale (the registry is away), expired (for long), unknown (there was none).",
            rate_by("agent_answers_total", AGENT, "face", "freshness"),
            unit=PER_SECOND,
            stacked=True,
            width=8,
        ),
        series(
            "Age of what was answered",
            "How old the view was when it answered.",
            *percentiles("agent_answer_age_seconds", AGENT),
            unit=SECONDS,
            width=8,
        ),
        series(
            "Size of the view",
            "Instances in the view, and services held and known.",
            PanelQuery(f"agent_view_instances{{{AGENT}}}", "{{instance}} instances"),
            PanelQuery(f"agent_view_services{{{AGENT}}}", "{{instance}} services"),
            width=8,
        ),
        series(
            "Memory",
            "Measured memory of the view, and resident memory of the process.",
            PanelQuery(f"agent_view_bytes{{{AGENT}}}", "{{instance}} view"),
            PanelQuery(f"agent_memory_bytes{{{AGENT}}}", "{{instance}} process"),
            unit=BYTES,
            width=8,
        ),
        series(
            "Limits in use",
            "The share of each limit that is used.",
            PanelQuery(
                f"max by (limit) (agent_limit_used{{{AGENT}}} / (agent_limit{{{AGENT}}} > 0))",
                "{{limit}}",
            ),
            unit=SHARE,
            steps=concern(0.8, 0.95),
            width=8,
        ),
    ),
)
SYNC: Final = PanelRow(
    "Following the registry",
    (
        series(
            "Changes",
            "Events of the watch that were applied to the view.",
            PanelQuery(f"sum by (instance) (rate(agent_sync_events_total{{{AGENT}}}[{RATE}]))", "{{instance}}"),
            unit=PER_SECOND,
            width=8,
        ),
        series(
            "Lost, read anew, mismatched",
            "Times that a watch was lost, that the view was read anew, and that its digest did not match.",
            PanelQuery(f"sum(rate(agent_sync_losses_total{{{AGENT}}}[{RATE}]))", "lost"),
            PanelQuery(f"sum(rate(agent_sync_resyncs_total{{{AGENT}}}[{RATE}]))", "read anew"),
            PanelQuery(f"sum(rate(agent_sync_mismatches_total{{{AGENT}}}[{RATE}]))", "mismatched"),
            unit=PER_SECOND,
            width=8,
        ),
        series(
            "Silence of the registry",
            "Seconds since anything was received from the registry; an idle watch has a sign of life now and then.",
            PanelQuery(f"agent_sync_lag_seconds{{{AGENT}}}", "{{instance}}"),
            unit=SECONDS,
            steps=above((30, "red")),
            width=8,
        ),
        series(
            "Latency of registries",
            "How long each registry takes to answer, as the agents measure it.",
            PanelQuery(f"max by (registry) (agent_registry_latency_seconds{{{AGENT}}})", "{{registry}}"),
            unit=SECONDS,
            width=8,
        ),
        series(
            "Moves to another registry",
            "By reason.",
            rate_by("agent_registry_moves_total", AGENT, "use", "why"),
            unit=PER_SECOND,
            width=8,
        ),
        series(
            "Failures of registries",
            "By registry and kind.",
            rate_by("agent_registry_failures_total", AGENT, "registry", "trouble"),
            unit=PER_SECOND,
            width=8,
        ),
        series(
            "Heartbeats",
            "Heartbeats by outcome.",
            rate_by("agent_heartbeats_total", AGENT, "outcome"),
            unit=PER_SECOND,
            stacked=True,
        ),
        table(
            "Agents by version and freshness",
            "As the agents report it to the replicas.",
            PanelQuery('sum by (version, freshness) (registry_agents{job="registry"})'),
            alerts=("AgentsOfTwoVersions",),
        ),
    ),
)
CHECKS: Final = PanelRow(
    "Checks of their own services",
    (
        series(
            "Results",
            "Results of checks, by kind.",
            rate_by("agent_check_results_total", AGENT, "kind", "result"),
            unit=PER_SECOND,
            width=8,
        ),
        series(
            "Duration",
            "How long checks take, by kind.",
            *percentiles("agent_check_duration_seconds", AGENT, (50, 99), by="kind"),
            unit=SECONDS,
            width=8,
        ),
        series(
            "Flapping",
            "Checks that are held critical because they flap.",
            PanelQuery(f"sum(agent_check_held{{{AGENT}}})", "held"),
            PanelQuery(f"sum(increase(agent_check_flaps_total{{{AGENT}}}[1m]))", "put on hold in the last minute"),
            width=8,
        ),
        series(
            "Services by phase",
            "Own services of the agents, by phase of their registration.",
            PanelQuery(f"sum by (phase) (agent_registrations{{{AGENT}}})", "{{phase}}"),
            stacked=True,
            width=8,
        ),
        series(
            "Snapshot behind",
            "How long the snapshot file has lacked a change of the view. After a restart without a registry, an agent "
            "answers from that file.",
            PanelQuery(f"agent_snapshot_behind_seconds{{{AGENT}}}", "{{instance}}"),
            unit=SECONDS,
            steps=above((600, "red")),
            width=8,
            alerts=("AgentSnapshotOld",),
        ),
        series(
            "Snapshots written, and failures",
            "How often the state folder was written, and how often that failed.",
            PanelQuery(f"sum(rate(agent_snapshot_saves_total{{{AGENT}}}[{RATE}]))", "written"),
            PanelQuery(f"sum(rate(agent_snapshot_failures_total{{{AGENT}}}[{RATE}]))", "failed"),
            unit=PER_SECOND,
            alerts=("AgentSnapshotOld",),
        ),
        series(
            "Certificates end in",
            "Time until the certificate of a service ends.",
            PanelQuery(f"min by (instance, service) (agent_certificate_ends_seconds{{{AGENT}}})", "{{service}}"),
            unit=SECONDS,
            below="red",
            steps=above((DAY_S, "green")),
            width=12,
            alerts=("AgentCertificateEnds",),
        ),
    ),
)
AGENTS: Final = Dashboard(
    "agents",
    "Vértice: agents",
    "How fresh the agents' answers are, how they follow the registry, and what they know of their own services.",
    (VIEW, SYNC, CHECKS),
    INSTANCES_OF_AGENTS,
    (("Starts", PanelQuery('changes(vertice_start_time_seconds{job="agent"}[1m]) > 0', "{{instance}} started")),),
)
