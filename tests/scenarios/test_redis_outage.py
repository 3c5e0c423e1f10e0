"""All of Redis is down for longer than a lease: lookups continue, the living stay, and the dead expire on time."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.outages import all_redis_away_for_a_moment, all_redis_emptied_for_a_moment
from tests.chaos.system import Outcome, say

pytestmark = pytest.mark.long


def held(outcome: Outcome) -> None:
    """Print the result of the fault, and check its promises."""
    say(outcome)
    assert outcome.lost == []
    assert outcome.result.failures == []
    assert outcome.result.lookups > 1000


@pytest.mark.timeout(120)
def test_redis_comes_back_unchanged_and_no_live_service_was_ever_missing(tmp_path: Path) -> None:
    held(all_redis_away_for_a_moment(tmp_path, random.randrange(1_000_000)))


@pytest.mark.timeout(120)
def test_redis_comes_back_empty_and_no_live_service_was_ever_missing(tmp_path: Path) -> None:
    held(all_redis_emptied_for_a_moment(tmp_path, random.randrange(1_000_000)))
