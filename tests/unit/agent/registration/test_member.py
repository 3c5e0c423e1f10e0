"""How one service of an agent is shown."""

from __future__ import annotations

import pytest

from agent.registration.decisions import MemberState, Phase
from agent.registration.member import Member
from agent.settings.settings import ServiceSpec
from registry_core.domain.records import Protocol
from tests.samples import claim


@pytest.mark.parametrize(
    ("host", "endpoint"), [("10.0.0.7", "grpc://10.0.0.7:8034"), ("fd00::7", "grpc://[fd00::7]:8034")]
)
def test_an_endpoint_is_a_url_whatever_the_host_is(host: str, endpoint: str) -> None:
    registered = claim(host=host, protocol=Protocol.GRPC)
    member = Member(ServiceSpec(registered), registered, MemberState(phase=next(iter(Phase))))
    assert member.report().endpoint == endpoint
