"""A histogram as an array: each value in the first bucket that it fits, and one observation for many."""

from __future__ import annotations

import pytest

from registry_core.telemetry.bucket_counts import BucketCounts


@pytest.mark.parametrize(
    ("value", "cumulative"),
    [(0.0, [1, 1, 1]), (1.0, [1, 1, 1]), (1.5, [0, 1, 1]), (5.0, [0, 1, 1]), (5.1, [0, 0, 1]), (1e9, [0, 0, 1])],
)
def test_a_value_counts_in_every_bucket_up_to_whose_bound_it_is(value: float, cumulative: list[int]) -> None:
    counts = BucketCounts((1, 5))
    counts.observe(value)
    assert counts.cumulative == list(zip(("1.0", "5.0", "+Inf"), cumulative, strict=True))
    assert (counts.count, counts.sum) == (1, value)


def test_one_observation_may_stand_for_many() -> None:
    one_by_one, at_once = BucketCounts((0.5, 2.5)), BucketCounts((0.5, 2.5))
    for _ in range(64):
        one_by_one.observe(2.0)
    at_once.observe(2.0, 64)
    assert (at_once.cumulative, at_once.count, at_once.sum) == (one_by_one.cumulative, 64, one_by_one.sum)
