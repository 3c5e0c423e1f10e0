"""Durations for people."""

from __future__ import annotations

import pytest

from cli.durations import lag, lasting


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7300, "2 h"), (200_000, "2 d"), (90_000, "25 h")],
)
def test_the_largest_unit_of_which_there_are_two(seconds: float, shown: str) -> None:
    assert lasting(seconds) == shown


def test_a_lag_that_nobody_measured_is_no_number() -> None:
    assert [lag(None), lag(0.25), lag(600)] == ["never", "0.2 s", "10 min"]
