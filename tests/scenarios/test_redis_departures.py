"""A deregistration is acknowledged while the Redis master is replaced: agents stop returning the instance at once."""

from __future__ import annotations

import random
from pathlib import Path

from tests.chaos.departures import departures_in_a_planned_failover, departures_without_a_master
from tests.chaos.system import Outcome, say


def gone(outcome: Outcome) -> None:
    """Print the result of a run, and check its promises."""
    say(outcome)
    assert outcome.lost == []
    assert outcome.broken == []


def test_an_agent_returns_no_instance_deregistered_while_the_master_was_dead(tmp_path: Path) -> None:
    gone(departures_without_a_master(tmp_path, random.randrange(1_000_000)))


def test_an_agent_returns_no_instance_deregistered_in_a_planned_failover(tmp_path: Path) -> None:
    gone(departures_in_a_planned_failover(tmp_path, random.randrange(1_000_000)))
