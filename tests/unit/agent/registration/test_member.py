"""What is shown of one service of this agent."""

from __future__ import annotations

from agent.registration.decisions import MemberState, Phase
from agent.registration.member import Member
from agent.settings.settings import ServiceSpec
from tests.samples import claim


def test_an_ipv6_address_stands_in_brackets_in_the_shown_url() -> None:
    at = claim("orders", "2001:db8::7", 8034)
    assert (
        Member(ServiceSpec(at), at, MemberState(phase=Phase.REGISTERED)).report().endpoint
        == "http://[2001:db8::7]:8034"
    )
