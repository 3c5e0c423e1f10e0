"""The reports as a part of the agent: what they say comes from its settings, its view and its two faces."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from agent.http.lookups import Lookups
from agent.settings.settings import AgentSettings
from agent.usage.reporter import AgentFacts, Reporter
from agent.view.view import AgentView
from dns.responder import Responder
from registry_core.domain.selection import Random
from registry_core.ports.clock import Clock
from registry_core.usage.book import UsageBook
from registry_core.usage.report import Face


class ReportingAgent(Protocol):
    """What an agent's reports are made of. A reload replaces its settings."""

    @property
    def settings(self) -> AgentSettings:
        """The settings in effect."""
        ...

    @property
    def view(self) -> AgentView:
        """What the agent answers from."""
        ...

    @property
    def responder(self) -> Responder:
        """What answers over DNS."""
        ...

    @property
    def lookups(self) -> Lookups:
        """What answers over HTTP."""
        ...


def reporter_of(agent: ReportingAgent, *, clock: Clock, random: Random) -> Reporter:
    """Return the reporter of an agent; with AGENT_USAGE=off it reports no counts, and none are kept."""
    view, responder = agent.view, agent.responder
    faces = {Face.DNS: responder.asked, Face.HTTP: agent.lookups.asked}
    for names in faces.values():
        names.is_on = agent.settings.counts_usage
    facts = partial(facts_of, agent)
    if not agent.settings.counts_usage:
        return Reporter(facts, clock=clock, random=random)
    book = UsageBook(
        faces,
        settle=lambda: responder.hits,
        is_known=lambda label: view.services.find(label) is not None or view.lacks(label),
        now=clock.monotonic(),
    )
    return Reporter(facts, book.counts, clock=clock, random=random)


def facts_of(agent: ReportingAgent) -> AgentFacts:
    """Return the facts as they are now."""
    settings, view = agent.settings, agent.view
    return AgentFacts(
        zone=settings.zone,
        services=tuple(sorted({spec.claim.key.label for spec in settings.services})),
        freshness=view.freshness.value if view.loaded else "",
        age_s=round(view.age_s(), 3) if view.loaded else None,
    )
