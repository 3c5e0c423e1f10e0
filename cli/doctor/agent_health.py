"""Judges what the running agent says about itself: refused services, and the other reasons for its health. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.doctor.facts import Facts
from cli.doctor.finding import DoctorFinding, DoctorRule, DoctorSeverity

# The rest is counted.
MAX_REASONS: Final = 8

HEALTHY = DoctorRule("agent-healthy", DoctorSeverity.OK, "the agent at {http} says that it is healthy")
REFUSED = DoctorRule(
    "agent-refused",
    DoctorSeverity.ERROR,
    "the registry refuses {name}: {problem}",
    "other machines do not find it, or will not for much longer; the agent tries again by itself",
    "curl http://{http}/self    # shows the registration; mend the cause, no restart is needed",
)
DEGRADED = DoctorRule(
    "agent-degraded",
    DoctorSeverity.WARNING,
    "the agent at {http} is {status}: {reason}",
    "it answers with what it knows, which may be old or lack something",
    "curl http://{http}/health    # shows the state of each part",
)
UNHEALTHY = DoctorRule(
    "agent-unhealthy",
    DoctorSeverity.ERROR,
    "the agent at {http} is {status}: {reason}",
    "it cannot answer lookups from a registry",
    "curl http://{http}/health    # shows the state of each part; see the findings on the registry",
)
KINDS: Final = (HEALTHY, REFUSED, DEGRADED, UNHEALTHY)


def judge(facts: Facts) -> Iterator[DoctorFinding]:
    """Return the findings on the agent's own account. An agent of the last release gives none."""
    agent, http = facts.agent, facts.subject.http_listen
    if agent is None or not agent.status:
        return
    refused = [service for service in agent.services if service.refusal]
    for service in refused:
        yield REFUSED.found(name=service.name, problem=service.refusal, http=http)
    known = tuple(f"{service.name} (" for service in refused)
    reasons = [reason for reason in agent.reasons if not reason.startswith(known)]
    if len(reasons) > MAX_REASONS:
        reasons = [*reasons[:MAX_REASONS], f"and {len(reasons) - MAX_REASONS} more reasons"]
    kind = UNHEALTHY if agent.status == "unhealthy" else DEGRADED
    for reason in reasons:
        yield kind.found(http=http, status=agent.status, reason=reason)
    if not refused and not reasons and agent.status == "healthy":
        yield HEALTHY.found(http=http)
