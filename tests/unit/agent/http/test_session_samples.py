"""What the metrics say of an agent's own services."""

from __future__ import annotations

import msgspec

from agent.checks.result import WELL
from agent.checks.spec import CheckKind
from agent.http.samples import HistogramSample
from agent.http.session_samples import phase_samples, session_samples
from registry_core.domain.records import Status
from tests.unit.agent.http.test_about import healthy


def test_checks_show_their_results_durations_and_flaps() -> None:
    session = healthy().session
    counts = session.check_counts
    counts.seen(CheckKind.TCP, WELL)
    counts.took(CheckKind.TCP, 0.3)
    counts.flaps += 2
    found = {sample.name: sample for sample in session_samples(session)}
    assert found["agent_check_results"].values == {("tcp", "passing"): 1.0}
    assert found["agent_check_flaps"].values == {(): 2}
    durations = found["agent_check_duration_seconds"]
    assert isinstance(durations, HistogramSample)
    assert (durations.values["tcp",].count, durations.values["tcp",].sum) == (1, 0.3)


def test_a_services_status_is_that_of_its_checks_unless_an_operator_holds_it() -> None:
    session = healthy().session

    def status() -> object:
        return {sample.name: sample.values for sample in session_samples(session)}["agent_service_status"]

    assert status() == {("billing", "passing"): 1.0}
    (member,) = session._members.values()
    member.state = msgspec.structs.replace(member.state, status=None)
    assert status() == {("billing", "unknown"): 1.0}
    member.state = msgspec.structs.replace(member.state, held=Status.MAINTENANCE)
    assert status() == {("billing", "maintenance"): 1.0}


def test_phases_are_labels() -> None:
    (shown,) = phase_samples({"waiting": 1, "registered": 2})
    assert shown.values == {("waiting",): 1.0, ("registered",): 2.0}
