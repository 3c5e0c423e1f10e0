"""The doctor's findings on a lookup that every program could make."""

from __future__ import annotations

import pytest

from cli.doctor.facts import Agent, Lookup
from cli.doctor.finding import DoctorFinding
from cli.doctor.lookup import SLOW_S, judge
from registry_core.settings import Listen
from tests.unit.cli.doctor.samples import facts, ids

NAME = "ns.vertice.internal"
AGENT = "127.0.0.1"


def found(lookup: Lookup | None, *, agent: Agent | None = None, listen: Listen | None = None) -> list[DoctorFinding]:
    return list(judge(facts(subject={"dns_listen": listen or Listen(AGENT, 53)}, lookup=lookup, agent=agent)))


def test_without_a_lookup_there_are_no_findings() -> None:
    assert found(None, agent=Agent()) == []


@pytest.mark.parametrize(
    ("took_s", "expected"), [(0.0, "lookup"), (SLOW_S, "lookup"), (SLOW_S + 0.01, "lookup-slow"), (5.0, "lookup-slow")]
)
@pytest.mark.parametrize("addresses", [(AGENT,), ("::1", AGENT)])
def test_a_lookup_that_reaches_the_agent_is_fine_unless_it_is_slow(
    took_s: float, expected: str, addresses: tuple[str, ...]
) -> None:
    assert ids(found(Lookup(name=NAME, addresses=addresses, took_s=took_s))) == [expected]


def test_a_slow_lookup_is_reported_with_its_duration() -> None:
    (finding,) = found(Lookup(name=NAME, addresses=(AGENT,), took_s=5.04))
    assert finding.what == "getaddrinfo(ns.vertice.internal) reaches the agent, but takes 5.0 s"


@pytest.mark.parametrize(
    ("lookup", "problem"),
    [
        (Lookup(name=NAME), "the answer is empty"),
        (Lookup(name=NAME, problem="Name or service not known"), "Name or service not known"),
        (Lookup(name=NAME, addresses=("192.0.2.1", "::1")), "the answer is 192.0.2.1, ::1"),
        (Lookup(name=NAME, addresses=("127.0.0.10",)), "the answer is 127.0.0.10"),
    ],
)
def test_a_lookup_that_misses_a_running_agent_is_an_error(lookup: Lookup, problem: str) -> None:
    (finding,) = found(lookup, agent=Agent())
    assert finding.id == "lookup-lost"
    assert finding.what.endswith(f"does not reach it: {problem}")
    assert f"dig @{AGENT} {NAME}" in finding.cure


@pytest.mark.parametrize(
    ("agent", "port"), [(None, 53), (None, 8653), (Agent(), 8653)], ids=["no agent", "neither", "another port"]
)
def test_a_lookup_that_cannot_reach_the_agent_is_reported_elsewhere(agent: Agent | None, port: int) -> None:
    assert found(Lookup(name=NAME, problem="no such name"), agent=agent, listen=Listen(AGENT, port)) == []


@pytest.mark.parametrize("agent", [None, Agent()], ids=["no agent", "an agent"])
def test_a_hanging_lookup_is_reported_with_or_without_an_agent(agent: Agent | None) -> None:
    assert ids(found(Lookup(name=NAME, done=False), agent=agent)) == ["lookup-hangs"]


def test_a_lookup_in_the_container_of_the_agent_says_nothing_about_other_programs() -> None:
    lost = Lookup(name=NAME, problem="no such name")
    assert list(judge(facts(machine={"is_agents_own": True}, lookup=lost, agent=Agent()))) == []
