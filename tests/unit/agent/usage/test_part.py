"""The facts of a report come from the settings in effect and the view; with AGENT_USAGE=off nothing is counted."""

from __future__ import annotations

import random

import msgspec
import pytest

from agent.http.lookups import Lookups
from agent.settings.settings import AgentSettings, ServiceSpec
from agent.usage.part import facts_of, reporter_of
from agent.view.view import AgentView
from dns.dns_settings import DnsSettings
from dns.responder import Responder
from registry_core.domain.selection import WhenNonePass
from tests.samples import FakeClock, claim


class Agent:
    def __init__(self, *, counts_usage: bool = True) -> None:
        self.clock = FakeClock()
        specs = tuple(
            ServiceSpec(claim(name, port=port)) for name, port in (("ip_intel", 8034), ("billing", 1), ("billing", 2))
        )
        self.settings = AgentSettings(zone="z1", services=specs, counts_usage=counts_usage)
        self.view = AgentView(self.clock)
        draws = random.Random(1)
        self.responder = Responder(self.view, DnsSettings(), draws, clock=self.clock)
        self.lookups = Lookups(self.view, zone="", when_none_pass=WhenNonePass.ALL, random=draws)


def test_before_the_first_snapshot_nothing_is_said_of_the_view() -> None:
    agent = Agent()
    facts = facts_of(agent)
    assert (facts.zone, facts.services) == ("z1", ("billing", "ip-intel"))
    assert (facts.freshness, facts.age_s) == ("", None)
    agent.settings = msgspec.structs.replace(agent.settings, zone="z2")
    assert facts_of(agent).zone == "z2"


@pytest.mark.parametrize("counts_usage", [True, False])
def test_the_setting_turns_the_counting_of_both_faces_on_and_off(counts_usage: bool) -> None:
    agent = Agent(counts_usage=counts_usage)
    reporter_of(agent, clock=agent.clock, random=random.Random(1))
    for names in (agent.responder.asked, agent.lookups.asked):
        names.add("billing")
        assert names.take() == ({"billing": 1} if counts_usage else {})
