"""How one service of an agent is shown, to people and to its own agent's lookups."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.registration.decisions import MemberState, Phase
from agent.registration.member import Member
from agent.settings.settings import ServiceSpec
from registry_core.domain.records import Protocol, Status
from tests.samples import claim


@pytest.mark.parametrize(
    ("host", "endpoint"), [("10.0.0.7", "grpc://10.0.0.7:8034"), ("fd00::7", "grpc://[fd00::7]:8034")]
)
def test_an_endpoint_is_a_url_whatever_the_host_is(host: str, endpoint: str) -> None:
    registered = claim(host=host, protocol=Protocol.GRPC)
    member = Member(ServiceSpec(registered), registered, MemberState(phase=next(iter(Phase))))
    assert member.report().endpoint == endpoint


def member(**state: Any) -> Member:
    registered = claim(epoch=7)
    return Member(ServiceSpec(registered), registered, MemberState(**state))


def test_a_service_that_waits_for_its_first_check_is_not_answered_yet() -> None:
    assert member(phase=Phase.WAITING).answered() is None


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.WAITING])
def test_from_then_on_it_is_answered_whatever_the_registry_says(phase: Phase) -> None:
    shown = member(phase=phase, status=Status.WARNING).answered()
    assert shown is not None
    assert (shown.endpoint, shown.status, shown.epoch) == ("http://10.0.0.7:8034", Status.WARNING, 7)


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ({"status": Status.PASSING}, Status.PASSING),
        ({"status": Status.PASSING, "held": Status.DRAINING}, Status.DRAINING),
        ({}, Status.CRITICAL),
    ],
)
def test_it_is_answered_with_the_status_that_the_registry_is_told(state: dict[str, Any], status: Status) -> None:
    shown = member(phase=Phase.DUE, **state).answered()
    assert shown is not None
    assert shown.status is status


def test_a_refused_host_name_is_answered_with_the_addresses_that_it_had() -> None:
    one = member(phase=Phase.DUE, status=Status.PASSING)
    one.registered_at = ("10.0.0.8",)
    shown = one.answered()
    assert shown is not None
    assert shown.addresses == ("10.0.0.8",)


def test_the_same_object_is_answered_until_something_changes() -> None:
    one = member(phase=Phase.DUE, status=Status.PASSING)
    first = one.answered()
    one.state = msgspec.structs.replace(one.state, phase=Phase.REGISTERED)
    assert one.answered() is first
    one.state = msgspec.structs.replace(one.state, status=Status.CRITICAL)
    assert one.answered() is not first
