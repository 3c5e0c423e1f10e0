"""The benchmark's table shows each measurement and its baseline."""

from __future__ import annotations

from bench.rows import Row, spread, table


def test_a_spread_is_by_the_nearest_rank() -> None:
    one_to_hundred = spread([n * 1_000_000 for n in range(100, 0, -1)])
    assert (one_to_hundred.p50_ms, one_to_hundred.p95_ms, one_to_hundred.p99_ms) == (50, 95, 99)
    assert (one_to_hundred.max_ms, one_to_hundred.count) == (100, 100)
    assert spread([2_000_000]).p50_ms == spread([2_000_000]).p99_ms == 2


def test_a_row_is_a_ratio_against_a_named_program_and_a_goal() -> None:
    row = Row("lookup", spread([2_000_000]), "a bare echo", spread([500_000]), goal_p99_ms=1)
    assert row.ratio == 4
    assert not row.met
    text = table([row])
    assert "lookup  1   2.000" in text
    assert "4.0  1 MISSED" in text
    assert text.endswith("lookup: the ratio is to a bare echo")
