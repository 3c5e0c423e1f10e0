"""The dashboard of DNS: what agents are asked, what they answer, and what they forward."""

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
)

QUERIES: Final = PanelRow(
    "Queries",
    (
        figure(
            "Queries",
            "Queries that were answered, per second.",
            f"sum(rate(agent_dns_queries_total{{{AGENT}}}[{RATE}]))",
            PER_SECOND,
        ),
        figure(
            "SERVFAIL",
            "The share of answers that say that the agent could not tell.",
            f'(sum(rate(agent_dns_queries_total{{{AGENT},rcode="SERVFAIL"}}[{RATE}])) or vector(0)) '
            f"/ sum(rate(agent_dns_queries_total{{{AGENT}}}[{RATE}]))",
            SHARE,
            steps=concern(0.001, 0.01),
        ),
        figure(
            "Ready answers",
            "The share of lookups whose answer lay ready in memory.",
            f'sum(rate(cache_hits_total{{{AGENT},cache="dns"}}[{RATE}])) '
            f'/ (sum(rate(cache_hits_total{{{AGENT},cache="dns"}}[{RATE}])) '
            f'+ sum(rate(cache_misses_total{{{AGENT},cache="dns"}}[{RATE}])))',
            SHARE,
        ),
        figure(
            "Internal errors",
            "Queries that hit an error of the agent itself. There is to be none.",
            f"sum(rate(agent_dns_failures_total{{{AGENT}}}[{RATE}]))",
            PER_SECOND,
            steps=above((0.001, "red")),
        ),
        figure(
            "Forwarding that fails",
            "The share of foreign queries for which no resolver had an answer.",
            f'(sum(rate(agent_dns_forwarded_total{{{AGENT},result="failed"}}[{RATE}])) or vector(0)) '
            f'/ sum(rate(agent_dns_forwarded_total{{{AGENT},result=~"answered|cached|stale|failed"}}[{RATE}]))',
            SHARE,
            steps=concern(0.01, 0.1),
            alerts=("AgentForwardersFail",),
        ),
        figure(
            "Resolvers that work",
            "Resolvers that agents forward to and that answer.",
            f'sum(agent_dns_upstream_state{{{AGENT},state="up"}}) / sum(agent_dns_upstream_state{{{AGENT}}})',
            SHARE,
            below="red",
            steps=above((0.5, "orange"), (1, "green")),
            alerts=("AgentForwardersFail",),
        ),
        series(
            "By type",
            "Queries by the type that was asked for.",
            rate_by("agent_dns_queries_total", AGENT, "type"),
            unit=PER_SECOND,
            stacked=True,
            width=8,
        ),
        series(
            "By rcode",
            "Answers by their rcode.",
            rate_by("agent_dns_queries_total", AGENT, "rcode"),
            unit=PER_SECOND,
            stacked=True,
            width=8,
        ),
        series(
            "By transport",
            "Messages that were received over UDP and TCP.",
            rate_by("agent_dns_received_total", AGENT, "transport"),
            unit=PER_SECOND,
            stacked=True,
            width=8,
        ),
        series(
            "By agent",
            "Queries per second of each agent.",
            rate_by("agent_dns_queries_total", AGENT, "instance"),
            unit=PER_SECOND,
            width=8,
            to="vertice-agents",
        ),
        series(
            "Age of answers",
            "How old the view was when it answered over DNS.",
            *percentiles("agent_answer_age_seconds", f'{AGENT},face="dns"'),
            unit=SECONDS,
            width=8,
            alerts=("AgentViewOld",),
        ),
        series(
            "Not answered",
            "Datagrams that were dropped or too late, malformed or forbidden queries, answers over the rate limit.",
            *(
                PanelQuery(f"sum(rate(agent_dns_{name}_total{{{AGENT}}}[{RATE}]))", name.replace("_", " "))
                for name in ("dropped", "too_late", "malformed", "prohibited", "limited", "failures")
            ),
            rate_by("agent_dns_not_done_total", AGENT, "reason"),
            unit=PER_SECOND,
            width=8,
        ),
    ),
)
FORWARDING: Final = PanelRow(
    "Forwarding",
    (
        series(
            "Foreign queries",
            "Queries outside the zone, by result.",
            rate_by("agent_dns_forwarded_total", AGENT, "result"),
            unit=PER_SECOND,
            stacked=True,
            width=8,
            alerts=("AgentForwardersFail",),
        ),
        series(
            "Resolvers: duration",
            "How long resolvers take to answer.",
            *percentiles("agent_dns_upstream_duration_seconds", AGENT, (50, 95), by="upstream"),
            unit=SECONDS,
            steps=above((1, "red")),
            width=8,
        ),
        series(
            "Resolvers: outcomes",
            "Tries at each resolver, by outcome.",
            rate_by("agent_dns_upstream_outcomes_total", AGENT, "upstream", "outcome"),
            unit=PER_SECOND,
            width=8,
        ),
        series(
            "In flight and cached",
            "Queries to resolvers in flight, and cached answers of resolvers.",
            PanelQuery(f"sum(agent_dns_forwarding_in_flight{{{AGENT}}})", "in flight"),
            PanelQuery(f"sum(agent_dns_forwarding_cached{{{AGENT}}})", "cached"),
        ),
        series(
            "State of resolvers",
            "Agents that see a resolver in this state.",
            PanelQuery(f"sum by (upstream, state) (agent_dns_upstream_state{{{AGENT}}})", "{{upstream}} {{state}}"),
        ),
    ),
)
ROOM: Final = PanelRow(
    "Room",
    (
        series(
            "TCP connections",
            "Open connections for DNS over TCP, and those that were closed or not accepted, by reason.",
            PanelQuery(f"sum(agent_dns_tcp_connections{{{AGENT}}})", "open"),
            PanelQuery(
                f"sum by (reason) (increase(agent_dns_tcp_connections_closed_total{{{AGENT}}}[1m]))",
                "closed in the last minute: {{reason}}",
            ),
            width=8,
        ),
        series(
            "Work that waits",
            "Pieces of work for answers that wait for their turn.",
            PanelQuery(f"sum by (instance) (agent_dns_work_waiting{{{AGENT}}})", "{{instance}}"),
            width=8,
        ),
        series(
            "Memory of ready answers",
            "Measured memory of DNS answers that lie ready.",
            PanelQuery(f"sum by (instance) (agent_dns_ready_answers_bytes{{{AGENT}}})", "{{instance}}"),
            unit=BYTES,
            width=8,
        ),
    ),
)
DNS: Final = Dashboard(
    "dns",
    "Vértice: DNS",
    "What agents are asked over DNS, what they answer, and what they forward.",
    (QUERIES, FORWARDING, ROOM),
    INSTANCES_OF_AGENTS,
)
