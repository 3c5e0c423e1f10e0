"""What was acknowledged is kept and stays as it is, whatever becomes of the Redis master.

Writers with instances of their own record all that they ask and are told; `make chaos` does this many times over, and
more of it.
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

# What a registry may refuse while it is not clear who leads. How long it does so is looked at by `make chaos`.
REFUSED = 503


def kept(fault: Callable[..., Outcome], folder: Path) -> None:
    """Do a fault, print its line, and hold what was acknowledged."""
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
