"""The metrics of this agent's own services: registrations, heartbeats and checks. It only reads. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from agent.http.samples import CounterSample, GaugeSample, HistogramSample, Sample, by_word, counter, gauge
from agent.registration.session import Session

UNKNOWN: Final = "unknown"


def phase_samples(phases: Mapping[str, int]) -> Iterable[Sample]:
    """Return how many services are in each phase."""
    yield GaugeSample("agent_registrations", "Services of this agent, by phase.", ("phase",), by_word(phases))


def session_samples(session: Session) -> Iterable[Sample]:
    """Return how registrations, heartbeats and checks go."""
    services, counts = session.report(), session.check_counts
    statuses = Counter((one.service_name, one.held or one.status or UNKNOWN) for one in services)
    yield GaugeSample(
        "agent_service_status",
        "How many of this agent's instances of a service have this status; `unknown` before the first check.",
        ("service", "status"),
        {labels: float(count) for labels, count in statuses.items()},
    )
    yield gauge(
        "agent_refused_services",
        "Services of this agent whose registration or heartbeat the registry refused.",
        sum(service.refused for service in services),
    )
    yield CounterSample(
        "agent_check_results",
        "Check results, by kind and status.",
        ("kind", "result"),
        {(kind, status): float(count) for (kind, status), count in counts.results.items()},
    )
    yield HistogramSample(
        "agent_check_duration_seconds",
        "How long checks took, each with its wait for a turn, by kind.",
        ("kind",),
        {(kind,): durations for kind, durations in counts.durations.items()},
    )
    yield counter("agent_check_flaps", "Times a check was put on hold for flapping.", counts.flaps)
    held = sum(check.held_seconds > 0 for service in services for check in service.checks)
    yield gauge("agent_check_held", "Checks held critical for flapping.", held)
    yield CounterSample(
        "agent_heartbeats", "Heartbeats, by outcome.", ("outcome",), by_word(dict(session.beats.items()))
    )
