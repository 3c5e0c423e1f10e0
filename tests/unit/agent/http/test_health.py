"""Each fault of an agent has its sentence in `/health`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.checks.group import CheckReport
from agent.checks.spec import CheckKind
from agent.http.health import MAX_SERVICES_NAMED, AgentHealth, judged
from agent.http.reports import LossGuardReport, SyncReport, ViewReport
from agent.registration.decisions import Phase
from agent.registration.member import ServiceReport
from registry_core.domain.freshness import Freshness
from registry_core.domain.records import Status

VIEW = ViewReport(
    freshness=Freshness.FRESH,
    age_seconds=0.0,
    complete=True,
    registry_state="ready",
    services=4,
    held_services=4,
    instances=4,
    largest_service="geo",
    largest_instances=1,
    bytes=1000,
    cursor="",
    loss_guard=None,
    unread_shards=[],
    unreadable="",
)
SYNC = SyncReport(
    connected=True, registry="http://r1:8888", registries=(), silent_seconds=0.0, losses=0, resyncs=0, mismatches=0
)
SERVICE = ServiceReport(
    service_name="billing",
    instance_id="b1",
    endpoint="http://10.0.0.7:8034",
    phase=Phase.REGISTERED,
    check="http",
    status=Status.PASSING,
    held=None,
    registered_status=Status.PASSING,
    last_check="200 OK",
    checks=[],
    problem="",
    refused=False,
    refused_for=None,
)
REFUSAL = "Unauthorized: the token is wrong"


def service(**more: Any) -> ServiceReport:
    return msgspec.structs.replace(SERVICE, **more)


def view(**more: Any) -> ViewReport:
    return msgspec.structs.replace(VIEW, **more)


def test_an_agent_without_faults_is_healthy() -> None:
    assert judged(VIEW, SYNC, [SERVICE, service(phase=Phase.WAITING), service(phase=Phase.DUE)], loaded=True) == (
        "healthy",
        [],
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            service(phase=Phase.DUE, problem=REFUSAL, refused=True),
            "billing (b1) is refused by the registry: " + REFUSAL,
        ),
        (service(phase=Phase.DUE, problem="HTTP 503"), "billing (b1) is not registered: HTTP 503"),
        (service(problem=REFUSAL, refused=True), "billing (b1) is registered, but the registry refuses to renew it: "),
        (service(problem="HTTP 503"), "billing (b1) is registered, but its latest status could not be sent: HTTP 503"),
        (service(phase=Phase.FENCED, problem="a newer agent renews it"), "billing (b1) has a newer owner elsewhere: a"),
        (service(phase=Phase.FENCED), "the registry gave no reason"),
    ],
)
def test_a_service_with_a_problem_is_degraded(given: ServiceReport, reason: str) -> None:
    status, (said,) = judged(VIEW, SYNC, [SERVICE, given], loaded=True)
    assert status == "degraded"
    assert reason in said


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            view(freshness=Freshness.STALE, age_seconds=42.0),
            "the view is stale: the registry last confirmed it 42 s ago",
        ),
        (
            view(loss_guard=LossGuardReport(known_services=4, missing_services=3, held_seconds=1.0)),
            "the registry lacks 3 of 4 known services",
        ),
        (view(unread_shards=["a", "b"]), "the registry has not read all of its store: a, b"),
        (view(unreadable="a line is truncated"), "part of the registry's stream cannot be read: a line is truncated"),
    ],
)
def test_a_view_that_cannot_be_trusted_is_degraded(given: ViewReport, reason: str) -> None:
    status, (said,) = judged(given, SYNC, [], loaded=True)
    assert status == "degraded"
    assert reason in said


def test_a_lost_watch_is_degraded_and_one_that_never_was_is_unhealthy() -> None:
    lost = msgspec.structs.replace(SYNC, connected=False)
    assert judged(VIEW, lost, [], loaded=True) == (
        "degraded",
        ["the watch is not connected to a registry (http://r1:8888)"],
    )
    status, reasons = judged(VIEW, lost, [], loaded=False)
    assert (status, reasons[0]) == ("unhealthy", "nothing has been heard from a registry yet")


def test_many_services_with_a_problem_share_a_sentence() -> None:
    refused = [service(instance_id=f"b{n}", problem=REFUSAL, refused=True) for n in range(600)]
    _, reasons = judged(VIEW, SYNC, refused, loaded=True)
    assert len(reasons) == MAX_SERVICES_NAMED + 1
    assert reasons[-1] == "590 more services have a problem; see /self"


def test_checks_that_the_agent_cannot_make_share_a_sentence() -> None:
    def check(not_checked: str) -> CheckReport:
        return CheckReport(
            name="http",
            kind=CheckKind.HTTP,
            status=Status.PASSING,
            last="passing",
            flaps=0,
            held_seconds=0.0,
            not_checked=not_checked,
        )

    one = service(checks=[check("Too many open files")])
    well = service(checks=[check("")])
    assert judged(VIEW, SYNC, [well], loaded=True) == AgentHealth("healthy", [])
    assert judged(VIEW, SYNC, [well, one], loaded=True) == AgentHealth(
        "degraded", ["a check could not be made (Too many open files): the services keep their last status"]
    )
    (reason,) = judged(VIEW, SYNC, [one] * 600, loaded=True).reasons
    assert reason.startswith("600 checks could not be made (Too many open files)")
