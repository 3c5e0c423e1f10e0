"""Refused heartbeats are logged once for all services, and each service shows the reason until they are accepted."""

from __future__ import annotations

from structlog.testing import capture_logs

from agent.registration.decisions import MemberState, Phase, RequestOutcome
from agent.registration.member import Member
from agent.registration.session_log import SessionLog
from agent.registries.client import RegistryReply
from agent.settings.settings import ServiceSpec
from registry_core.domain.records import Status
from tests.samples import claim

WRONG = RegistryReply(RequestOutcome.REFUSED, "Unauthorized: the token is wrong")
FORBIDDEN = RegistryReply(RequestOutcome.REFUSED, "Forbidden: the key is of another service")
DONE = RegistryReply(RequestOutcome.DONE)
AWAY = RegistryReply(RequestOutcome.UNAVAILABLE, "HTTP 503")


def members(count: int) -> list[Member]:
    registered = MemberState(phase=Phase.REGISTERED, status=Status.PASSING, told=Status.PASSING)
    claims = [claim(f"service{n}", f"10.0.0.{n + 1}") for n in range(count)]
    return [Member(ServiceSpec(one), one, registered) for one in claims]


def test_refused_heartbeats_are_one_line_and_a_problem_of_each_service() -> None:
    log, mine = SessionLog(), members(100)
    with capture_logs() as lines:
        for _ in range(3):
            log.of_beats((member, WRONG) for member in mine)
    (line,) = lines
    assert (line["event"], line["services"], line["because"]) == ("heartbeats_refused", len(mine), WRONG.said)
    assert all((member.problem, member.refused) == (WRONG.said, True) for member in mine)


def test_another_reason_is_another_line() -> None:
    log, mine = SessionLog(), members(2)
    with capture_logs() as lines:
        log.of_beats((member, WRONG) for member in mine)
        log.of_beats((member, FORBIDDEN) for member in mine)
    assert [line["because"] for line in lines] == [WRONG.said, FORBIDDEN.said]


def test_accepted_heartbeats_end_the_problem() -> None:
    log, mine = SessionLog(), members(2)
    log.of_beats((member, WRONG) for member in mine)
    with capture_logs() as lines:
        log.of_beats((member, AWAY) for member in mine)
        assert all(member.refused for member in mine), "no answer says nothing about the credential"
        for _ in range(2):
            log.of_beats((member, DONE) for member in mine)
    assert [(line["event"], line["services"]) for line in lines] == [("heartbeats_accepted", 2)]
    assert all((member.problem, member.refused) == ("", False) for member in mine)


def test_a_registration_that_was_not_answered_is_not_called_refused() -> None:
    log, (member,) = SessionLog(), members(1)
    log.of_request(member, WRONG, registered_as=Status.PASSING)
    assert member.refused
    log.of_request(member, AWAY, registered_as=Status.PASSING)
    assert (member.problem, member.refused) == ("HTTP 503", False)
