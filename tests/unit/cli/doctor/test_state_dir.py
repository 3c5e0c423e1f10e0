"""The doctor's findings on AGENT_STATE_DIR: usable, full, another user's, damaged, or not set."""

from __future__ import annotations

from typing import Any

import pytest

from cli.doctor.facts import Agent, StateDirFacts
from cli.doctor.finding import DoctorFinding
from cli.doctor.state_dir import ENOUGH_BYTES, judge
from tests.unit.cli.doctor.samples import facts, ids

PATH = "/var/lib/vertice"


def of(*, agent: Agent | None = None, **state: Any) -> list[DoctorFinding]:
    seen = StateDirFacts(path=PATH, **{"free_bytes": ENOUGH_BYTES, "user": 1000, **state})
    return list(judge(facts(subject={"state_dir": PATH}, state=seen, agent=agent)))


def test_a_usable_folder_is_fine() -> None:
    (finding,) = of()
    assert finding.what == f"AGENT_STATE_DIR {PATH} is writable"


@pytest.mark.parametrize(("agent", "expected"), [(None, ["state-dir-none"]), (Agent(), [])], ids=["no agent", "agent"])
def test_no_folder_is_noted_unless_a_running_agent_may_have_one(agent: Agent | None, expected: list[str]) -> None:
    assert ids(list(judge(facts(agent=agent)))) == expected


def test_an_unexamined_folder_is_not_judged() -> None:
    assert list(judge(facts(subject={"state_dir": PATH}))) == []


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"problem": "permission denied"}, "permission denied"),
        ({"problem": "permission denied", "exists": False, "can_be_made": False}, "permission denied"),
        ({"exists": False, "can_be_made": False}, "it does not exist, and this user cannot create it"),
        ({"is_folder": False}, "it is not a folder"),
    ],
)
def test_an_unusable_folder_is_reported_with_the_reason_and_nothing_else(state: dict[str, Any], problem: str) -> None:
    (finding,) = of(**state, free_bytes=0, writable=False, locked_by="pid 7", has_damaged_snapshot=True)
    assert finding.id == "state-dir-problem"
    assert finding.what == f"AGENT_STATE_DIR {PATH} cannot be used: {problem}"
    assert finding.cure == f"mkdir -p {PATH} && chown 1000 {PATH}"


def test_a_folder_that_can_be_created_is_fine() -> None:
    assert ids(of(exists=False, can_be_made=True, is_folder=False, writable=False)) == ["state-dir"]


def test_another_users_folder_is_reported_with_both_users() -> None:
    (finding,) = of(writable=False, owner=0)
    assert finding.what == f"AGENT_STATE_DIR {PATH} belongs to user 0 and is not writable for user 1000"


@pytest.mark.parametrize(
    ("free_bytes", "expected"),
    [(0, ["state-dir-full"]), (ENOUGH_BYTES - 1, ["state-dir-full"]), (ENOUGH_BYTES, ["state-dir"])],
)
def test_a_folder_needs_room_for_a_snapshot(free_bytes: int, expected: list[str]) -> None:
    assert ids(of(free_bytes=free_bytes)) == expected


def test_the_free_space_is_shown_in_whole_mebibytes() -> None:
    (finding,) = of(free_bytes=ENOUGH_BYTES - 1)
    assert finding.what == f"AGENT_STATE_DIR {PATH} has 63 MiB left"


@pytest.mark.parametrize(
    ("agent", "expected"),
    [(None, ["state-dir-taken"]), (Agent(), ["state-dir"])],
    ids=["no agent", "agent"],
)
def test_a_lock_is_foreign_when_no_agent_runs(agent: Agent | None, expected: list[str]) -> None:
    assert ids(of(agent=agent, locked_by="vertice (pid 7)")) == expected


def test_a_damaged_snapshot_is_noted_along_with_a_usable_folder() -> None:
    assert ids(of(has_damaged_snapshot=True)) == ["state-dir-damaged", "state-dir"]


def test_all_of_several_problems_are_reported() -> None:
    found = of(writable=False, free_bytes=0, locked_by="pid 7", has_damaged_snapshot=True)
    assert ids(found) == ["state-dir-owner", "state-dir-full", "state-dir-taken", "state-dir-damaged"]
