"""Programs in Java, and whether they keep addresses for longer than a drain lasts."""

from __future__ import annotations

import math

import pytest

from cli.doctor.java import judge
from tests.unit.cli.doctor.samples import facts


@pytest.mark.parametrize(
    ("kept_s", "wait_s", "shown"),
    [(30.0, 5.0, "for 30 s"), (math.inf, 3600.0, "for ever"), (30.0, 30.0, ""), (5.0, 5.0, ""), (None, 5.0, "")],
)
def test_addresses_that_are_kept_longer_than_a_drain_are_reported(
    kept_s: float | None, wait_s: float, shown: str
) -> None:
    found = list(judge(facts(machine={"java_keeps_s": kept_s}, subject={"drain_wait_s": wait_s})))
    assert [one.id for one in found] == (["java-address-cache"] if shown else [])
    assert all(shown in one.what and f"({wait_s:g} s)" in one.what for one in found)
