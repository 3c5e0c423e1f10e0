"""Which forwarders are asked for the agent's own names."""

from __future__ import annotations

import pytest

from agent.hosts.own_names import OwnNames
from dns.forward_rules import NOBODY, ForwardRules, read_rules
from dns.forwarding import Forwarder
from registry_core.supervision import Background
from tests.samples import FakeClock

CLOCK = FakeClock()


def forwarder(rules: ForwardRules) -> Forwarder:
    return Forwarder(rules, CLOCK)


@pytest.mark.parametrize(
    ("rules", "further"),
    [
        (read_rules("system"), []),
        (read_rules("system,corp.example=10.0.0.2"), []),
        (read_rules("10.0.0.2"), ["system"]),
        (read_rules("nxdomain,corp.example=system"), ["system"]),
        (NOBODY, ["system"]),
    ],
)
async def test_the_systems_resolvers_are_asked_for_names_without_a_dot(rules: ForwardRules, further: list[str]) -> None:
    made: list[str] = []

    def new_forwarder(rules: ForwardRules) -> Forwarder:
        made.append(str(rules))
        return forwarder(rules)

    serves = forwarder(rules) if rules.forwards else None
    names = OwnNames(
        serves,
        rules,
        new_forwarder,
        zone="vertice.internal",
        clock=CLOCK,
        background=Background(CLOCK),
        most_lookups=1,
    )
    assert made == further
    if serves is not None:
        assert names.ask == serves.look_up
    names.listens_on("127.0.0.1", 53)
    await names.close()
