"""The facts of a report come from the settings in effect and the view."""

from __future__ import annotations

import msgspec

from agent.settings.settings import AgentSettings, ServiceSpec
from agent.usage.facts import facts_of
from agent.view.view import AgentView
from tests.samples import FakeClock, claim


class Agent:
    def __init__(self) -> None:
        self.clock = FakeClock()
        specs = tuple(
            ServiceSpec(claim(name, port=port)) for name, port in (("ip_intel", 8034), ("billing", 1), ("billing", 2))
        )
        self.settings = AgentSettings(zone="z1", services=specs)
        self.view = AgentView(self.clock)


def test_before_the_first_snapshot_nothing_is_said_of_the_view() -> None:
    agent = Agent()
    facts = facts_of(agent)
    assert (facts.zone, facts.services) == ("z1", ("billing", "ip-intel"))
    assert (facts.freshness, facts.age_s) == ("", None)
    agent.settings = msgspec.structs.replace(agent.settings, zone="z2")
    assert facts_of(agent).zone == "z2"
