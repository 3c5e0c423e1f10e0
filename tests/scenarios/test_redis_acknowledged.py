"""Acknowledged writes survive unchanged, whatever happens to the Redis master.

Writers with their own instances record all requests and answers; `make chaos` does this many times over, and more.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.acknowledged import (
    connections_cut_while_held,
    master_replaced,
    master_restarted_behind,
    planned_failover,
)
from tests.chaos.system import Outcome, say

pytestmark = pytest.mark.long

# The refusals that are allowed while it is unclear who leads; `make chaos` checks for how long.
REFUSED = 503


def kept(fault: Callable[..., Outcome], folder: Path) -> None:
    """Run a fault, print its result, and check the acknowledged writes."""
    outcome = fault(folder, random.randrange(1_000_000), quick=True)
    say(outcome)
    assert outcome.lost == []
    assert [failure for failure in outcome.result.failures if failure.status != REFUSED] == []
    assert len(outcome.result.acknowledged) > 0


def test_a_planned_failover_loses_no_acknowledged_write(tmp_path: Path) -> None:
    kept(planned_failover, tmp_path)


def test_a_master_that_returns_a_second_behind_loses_no_acknowledged_write(tmp_path: Path) -> None:
    kept(master_restarted_behind, tmp_path)


def test_a_promotion_loses_no_acknowledged_write(tmp_path: Path) -> None:
    kept(master_replaced, tmp_path)


def test_a_held_write_whose_connection_is_cut_is_acknowledged_only_if_it_is_kept(
    tmp_path: Path,
) -> None:
    kept(connections_cut_while_held, tmp_path)
