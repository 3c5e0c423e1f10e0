"""What a resolver between programs and the agent keeps back, by its name, with what to set."""

from __future__ import annotations

import pytest

from cli.doctor.facts import Agent, ZoneAnswer
from cli.doctor.resolvers_in_front import judge
from tests.unit.cli.doctor.samples import facts, ids


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ZoneAnswer.OURS, []),
        (ZoneAnswer.UNKNOWN, []),
        (ZoneAnswer.FILTERED, ["rebind-protection"]),
        (ZoneAnswer.BOGUS, ["validating-resolver"]),
    ],
)
def test_each_way_of_keeping_back_has_a_name(answer: ZoneAnswer, expected: list[str]) -> None:
    found = list(judge(facts(nameservers={"10.0.0.53": answer})))
    assert ids(found) == expected
    assert all("10.0.0.53" in one.what and "vertice.internal" in one.cure for one in found)


def test_the_cures_are_lines_for_the_programs_by_their_names() -> None:
    answers = {"10.0.0.1": ZoneAnswer.FILTERED, "10.0.0.2": ZoneAnswer.BOGUS}
    rebind, validates = judge(facts(nameservers=answers))
    assert "rebind-domain-ok=/vertice.internal/" in rebind.cure
    assert 'private-domain: "vertice.internal"' in rebind.cure
    assert 'validate-except { "vertice.internal"; }' in validates.cure


def test_a_service_that_is_too_large_for_bind_is_named_with_its_size() -> None:
    agent = Agent(largest_service="large", largest_instances=150)
    (found,) = judge(facts(nameservers={"10.0.0.53": ZoneAnswer.OURS}, large_refused=("10.0.0.53",), agent=agent))
    assert found.what == "10.0.0.53 asks the agent, but fails for the 150 SRV records of _large._tcp.vertice.internal"
