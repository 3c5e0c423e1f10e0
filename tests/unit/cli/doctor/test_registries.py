"""The doctor's findings on each registry address: reachable, ready, its clock, and whether it accepts the token."""

from __future__ import annotations

from typing import Any

import pytest

from cli.doctor.facts import RegistrySeen
from cli.doctor.finding import DoctorFinding
from cli.doctor.registries import CLOCK_NOTE_S, CLOCK_WARNING_S, judge
from tests.unit.cli.doctor.samples import URL, facts, ids

IPV6_URL = "http://[2001:db8::7]:8888"


def of(*seen: RegistrySeen, has_token: bool = True) -> list[DoctorFinding]:
    return list(judge(facts(subject={"has_token": has_token}, registries=seen)))


def of_one(*, has_token: bool = True, **seen: Any) -> list[DoctorFinding]:
    return of(RegistrySeen(url=URL, **seen), has_token=has_token)


def test_without_a_registry_there_are_no_findings() -> None:
    assert of() == []


@pytest.mark.parametrize(
    ("version", "text"),
    [("", f"the registry at {URL} answers"), ("1.2", f"the registry at {URL} answers, version 1.2")],
)
def test_a_registry_that_answers_is_fine(version: str, text: str) -> None:
    (finding,) = of_one(version=version)
    assert (finding.id, finding.what) == ("registry", text)


@pytest.mark.parametrize(
    ("problems", "expected"),
    [
        (["refused"], ["registry-away"]),
        (["refused", "timeout"], ["registry-away", "registry-away"]),
        (["refused", ""], ["registry-one-away", "registry"]),
        (["", "refused"], ["registry", "registry-one-away"]),
    ],
)
def test_an_unreachable_registry_matters_less_when_another_works(problems: list[str], expected: list[str]) -> None:
    assert ids(of(*(RegistrySeen(url=IPV6_URL, problem=problem) for problem in problems))) == expected


def test_an_unreachable_registry_has_no_other_findings() -> None:
    (finding,) = of_one(problem="refused", is_ready=False, ahead_s=900.0, write_status=401, dead_addresses=("::1",))
    assert finding.what == f"the registry at {URL} cannot be used: refused"


@pytest.mark.parametrize(
    ("state", "is_ready", "expected"),
    [
        ("loading", False, ["registry-not-ready"]),
        ("warming", False, ["registry-not-ready", "registry-warming"]),
        ("warming", True, ["registry", "registry-warming"]),
        ("ready", True, ["registry"]),
    ],
)
def test_a_starting_registry_is_reported(state: str, *, is_ready: bool, expected: list[str]) -> None:
    assert ids(of_one(state=state, is_ready=is_ready)) == expected


def test_dead_addresses_of_its_name_are_listed() -> None:
    _, finding = of_one(dead_addresses=("10.0.0.3", "2001:db8::7"))
    assert finding.id == "registry-address"
    assert "10.0.0.3, 2001:db8::7" in finding.what


@pytest.mark.parametrize(
    ("ahead_s", "error_s", "expected"),
    [
        (0.0, 0.0, "clock"),
        (CLOCK_NOTE_S, 0.0, "clock"),
        (CLOCK_NOTE_S + 0.1, 0.0, "clock-differs"),
        (-CLOCK_NOTE_S - 0.1, 0.0, "clock-differs"),
        (CLOCK_WARNING_S, 0.0, "clock-differs"),
        (CLOCK_WARNING_S + 0.1, 0.0, "clock-wrong"),
        (-CLOCK_WARNING_S - 0.1, 0.0, "clock-wrong"),
        (10.0, 9.0, "clock"),
        (10.0, 20.0, "clock"),
        (65.0, 10.0, "clock-differs"),
    ],
)
def test_only_the_certain_part_of_a_clocks_error_counts(ahead_s: float, error_s: float, expected: str) -> None:
    assert ids(of_one(ahead_s=ahead_s, error_s=error_s)) == ["registry", expected]


@pytest.mark.parametrize(
    ("ahead_s", "text"),
    [
        (0.1, f"this clock and that of {URL} agree within 2 s"),
        (30.2, f"the clock of {URL} is 30 s ahead of this one"),
        (-90.0, f"the clock of {URL} is 90 s behind this one"),
    ],
)
def test_a_wrong_clock_is_reported_with_distance_and_direction(ahead_s: float, text: str) -> None:
    _, finding = of_one(ahead_s=ahead_s)
    assert finding.what == text


@pytest.mark.parametrize(
    ("status", "has_token", "expected"),
    [
        (None, True, []),
        (404, True, ["token"]),
        (200, False, ["token"]),
        (401, True, ["token-wrong"]),
        (403, True, ["token-wrong"]),
        (401, False, ["token-missing"]),
        (403, False, ["token-missing"]),
        (500, True, ["registry-no-writes"]),
        (503, False, ["registry-no-writes"]),
    ],
)
def test_the_status_of_a_write_shows_whether_the_token_is_accepted(
    status: int | None, *, has_token: bool, expected: list[str]
) -> None:
    assert ids(of_one(write_status=status, has_token=has_token)) == ["registry", *expected]
