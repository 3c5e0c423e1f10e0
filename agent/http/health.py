"""Judges an agent's health from its reports, and gives the reason for each fault. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from agent.http.reports import SyncReport, ViewReport
from agent.registration.decisions import Phase
from agent.registration.member import ServiceReport
from registry_core.domain.freshness import Freshness

# More services with a problem share one sentence: an agent may have hundreds.
MAX_SERVICES_NAMED: Final = 10


class AgentHealth(NamedTuple):
    """The health of an agent, and one sentence for each fault."""

    status: str  # "healthy" | "degraded" | "unhealthy"
    reasons: list[str]


def judged(
    view: ViewReport,
    sync: SyncReport,
    services: Sequence[ServiceReport],
    *,
    loaded: bool,
    tls_problem: str = "",
    certificates: Sequence[str] = (),
) -> AgentHealth:
    """Return the health of an agent: unhealthy while it cannot answer lookups at all.

    `certificates` has a sentence for each certificate of its services that is not well.
    """
    reasons = [*_of_services(services), *_of_checks(services), *_of_view(view, sync, loaded=loaded)]
    if tls_problem:
        reasons.append(f"TLS towards the registry: {tls_problem}")
    reasons += certificates
    if not loaded:
        return AgentHealth("unhealthy", reasons)
    return AgentHealth("degraded" if reasons else "healthy", reasons)


def _of_services(services: Sequence[ServiceReport]) -> Iterable[str]:
    ill = [service for service in services if service.problem or service.phase is Phase.FENCED]
    for service in ill[:MAX_SERVICES_NAMED]:
        why = service.problem or "the registry gave no reason"
        yield f"{service.service_name} ({service.instance_id}) {_standing(service)}: {why}"
    if len(ill) > MAX_SERVICES_NAMED:
        yield f"{len(ill) - MAX_SERVICES_NAMED} more services have a problem; see /self"


def _of_checks(services: Sequence[ServiceReport]) -> Iterable[str]:
    problems = [check.not_checked for service in services for check in service.checks if check.not_checked]
    if problems:
        many = f"{len(problems)} checks" if len(problems) > 1 else "a check"
        yield f"{many} could not be made ({problems[0]}): the services keep their last status"


def _standing(service: ServiceReport) -> str:
    if service.phase is Phase.FENCED:
        return "has a newer owner elsewhere"
    if service.phase is not Phase.REGISTERED:
        return "is refused by the registry" if service.refused else "is not registered"
    if service.refused:
        return "is registered, but the registry refuses to renew it"
    return "is registered, but its latest status could not be sent"


def _of_view(view: ViewReport, sync: SyncReport, *, loaded: bool) -> Iterable[str]:
    if not loaded:
        yield "nothing has been heard from a registry yet"
    if not sync.connected:
        yield f"the watch is not connected to a registry ({sync.registry or 'no address is known'})"
    if view.freshness is not Freshness.FRESH:
        yield f"the view is {view.freshness.value}: the registry last confirmed it {view.age_seconds:.0f} s ago"
    if view.loss_guard is not None:
        guard = view.loss_guard
        yield (
            f"the registry lacks {guard.missing_services} of {guard.known_services} known services: "
            "they are still served until it is ready"
        )
    if view.unread_shards:
        yield f"the registry has not read all of its store: {', '.join(view.unread_shards)}"
    if view.unreadable:
        yield f"part of the registry's stream cannot be read: {view.unreadable}"
