"""The dashboard of one service: its instances, as its agents and Prometheus see them."""

from __future__ import annotations

from typing import Final

from tools.dashboards.panels import (
    PER_SECOND,
    RATE,
    SECONDS,
    SHARE,
    Dashboard,
    PanelQuery,
    PanelRow,
    Variable,
    above,
    concern,
    figure,
    series,
    table,
)

OWN: Final = 'agent_service_status{job="agent",service=~"$service"} > 0'
SCRAPED: Final = 'job="services",service=~"$service"'


def beside(metric: str) -> str:
    """Return the PromQL of a metric of the agents that are beside an instance of the service."""
    return f'{metric}{{job="agent"}} and on (instance) ({OWN})'


INSTANCES: Final = PanelRow(
    "Instances",
    (
        figure(
            "Passing",
            "Instances whose agent says that they pass.",
            'sum(agent_service_status{job="agent",service=~"$service",status="passing"}) or vector(0)',
            below="red",
            steps=above((1, "orange"), (2, "green")),
        ),
        figure(
            "Not passing",
            "Instances whose agent says anything else: critical, warning, draining, in maintenance, not known yet.",
            f'count({OWN} unless on (instance, service) (agent_service_status{{status="passing"}} > 0)) or vector(0)',
            steps=concern(1),
        ),
        figure(
            "Scraped",
            "The share of the instances that Prometheus reaches itself, found through `GET /sd/prometheus`.",
            f"sum(up{{{SCRAPED}}}) / count(up{{{SCRAPED}}})",
            SHARE,
            below="red",
            steps=above((0.5, "orange"), (1, "green")),
        ),
        figure(
            "Certificate ends in",
            "Time until the first certificate of an instance ends.",
            'min(agent_certificate_ends_seconds{job="agent",service=~"$service"})',
            SECONDS,
            below="red",
            steps=above((86_400, "green")),
            alerts=("AgentCertificateEnds",),
        ),
        figure(
            "Zones",
            "Zones with an instance that passes.",
            'count(count by (zone) (vertice_build_info{component="agent"} and on (instance) '
            '(agent_service_status{job="agent",service=~"$service",status="passing"} > 0)))',
            below="red",
            steps=above((1, "orange"), (2, "green")),
            alerts=("ZoneAway",),
        ),
        figure(
            "Oldest view",
            "The oldest view of an agent beside an instance: how old what the service is told can be.",
            f"max({beside('cache_age_seconds')})",
            SECONDS,
            steps=concern(30, 60),
            alerts=("AgentViewOld",),
        ),
        series(
            "By status",
            "Instances by the status that their agent reports.",
            PanelQuery('sum by (status) (agent_service_status{job="agent",service=~"$service"})', "{{status}}"),
            stacked=True,
            width=12,
        ),
        table(
            "Instances",
            "Each instance, by its agent, with its status.",
            PanelQuery(f"sum by (instance, service, status) ({OWN})"),
            width=12,
            to="vertice-agents",
        ),
        series(
            "Instances that Prometheus reaches",
            "By zone and version, as the registry labels them.",
            PanelQuery(f"sum by (zone, version) (up{{{SCRAPED}}})", "{{zone}} {{version}}"),
            width=12,
        ),
        series(
            "Scrapes of instances",
            "How long a scrape of an instance takes.",
            PanelQuery(f"scrape_duration_seconds{{{SCRAPED}}}", "{{instance}}"),
            unit=SECONDS,
            width=12,
        ),
    ),
)
ASKING: Final = PanelRow(
    "What its instances ask and are told",
    (
        series(
            "DNS queries of its agents",
            "What is asked beside the instances, by rcode.",
            PanelQuery(
                f"sum by (rcode) (rate(agent_dns_queries_total[{RATE}]) and on (instance) ({OWN}))",
                "{{rcode}}",
            ),
            unit=PER_SECOND,
            stacked=True,
            width=8,
        ),
        series(
            "Answers by freshness",
            "Answers of the agents beside the instances.",
            PanelQuery(
                f"sum by (freshness) (rate(agent_answers_total[{RATE}]) and on (instance) ({OWN}))",
                "{{freshness}}",
            ),
            unit=PER_SECOND,
            stacked=True,
            width=8,
        ),
        series(
            "Checks",
            "Results of the checks of the agents beside the instances.",
            PanelQuery(
                f"sum by (result) (rate(agent_check_results_total[{RATE}]) and on (instance) ({OWN}))",
                "{{result}}",
            ),
            unit=PER_SECOND,
            width=8,
        ),
    ),
)
SERVICE: Final = Dashboard(
    "service",
    "Vértice: one service",
    "The instances of a service as their agents see them, and what is asked beside them. `vertice usage` says who asks "
    "for the service.",
    (INSTANCES, ASKING),
    (
        Variable(
            "service",
            "Service",
            'label_values(agent_service_status{job="agent"}, service)',
            "The service; several are added up.",
        ),
    ),
)
