"""A Redis master dies or is paused under load: slow writes, no failed ones, nothing lost."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.faults import histories_part, master_killed, master_paused
from tests.chaos.system import Outcome, say

pytestmark = pytest.mark.long


def held(outcome: Outcome) -> None:
    """Print the result of a fault, and check its promises."""
    say(outcome)
    assert outcome.lost == []
    assert outcome.broken == []
    assert outcome.result.failures == []
    assert len(outcome.result.acknowledged) == outcome.result.writes


@pytest.mark.parametrize("time", [1, 2, 3])
def test_a_killed_master_costs_a_moment_and_no_registration(tmp_path: Path, time: int) -> None:
    held(master_killed(tmp_path, random.randrange(1_000_000)))


@pytest.mark.timeout(120)
def test_a_master_paused_for_twenty_seconds_loses_nothing(tmp_path: Path) -> None:
    held(master_paused(tmp_path, random.randrange(1_000_000)))


def test_writes_that_only_a_killed_master_had_are_neither_acknowledged_nor_shown(tmp_path: Path) -> None:
    held(histories_part(tmp_path, random.randrange(1_000_000)))
