"""A network partition: the smaller side refuses, the larger continues, nothing is lost."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests import networks
from tests.chaos.faults import REFUSED
from tests.chaos.partition import cut_off
from tests.chaos.system import say

pytestmark = pytest.mark.long

WHY_NOT = networks.why_not()


@pytest.mark.skipif(bool(WHY_NOT), reason=f"NOT PROVEN HERE: {WHY_NOT}")
@pytest.mark.timeout(180)
def test_a_master_cut_off_with_one_client_acknowledges_nothing_and_loses_nothing(tmp_path: Path) -> None:
    outcome = cut_off(tmp_path, random.randrange(1_000_000))
    say(outcome)
    assert outcome.broken == []
    assert outcome.lost == []
    assert outcome.result.failed("lookup") == []
    assert {failure.status for failure in outcome.result.failures} == REFUSED
