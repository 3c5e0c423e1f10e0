"""The facts of one agent that its reports tell: zone, own services, and how fresh its view is. Pure."""

from __future__ import annotations

from typing import Protocol

from agent.settings.settings import AgentSettings
from agent.usage.reporter import AgentFacts
from agent.view.view import AgentView


class ReportingAgent(Protocol):
    """What has an agent's settings, which a reload replaces, and its view."""

    @property
    def settings(self) -> AgentSettings:
        """The settings in effect."""
        ...

    @property
    def view(self) -> AgentView:
        """What the agent answers from."""
        ...


def facts_of(agent: ReportingAgent) -> AgentFacts:
    """Return the facts as they are now."""
    settings, view = agent.settings, agent.view
    return AgentFacts(
        zone=settings.zone,
        services=tuple(sorted({spec.claim.key.label for spec in settings.services})),
        freshness=view.freshness.value if view.loaded else "",
        age_s=round(view.age_s(), 3) if view.loaded else None,
    )
