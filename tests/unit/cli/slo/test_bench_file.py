"""What a file of the benchmark says about the service levels."""

from __future__ import annotations

import json

import pytest

from cli.slo.bench_file import UnusableBenchFile, bench_measurements
from cli.slo.verdicts import Kept, verdicts

SPREAD = {"count": 500, "p50_ms": 3.0, "p95_ms": 60.0, "p99_ms": 70.0, "max_ms": 80.0}


def file_of(*rows: dict[str, object]) -> bytes:
    return json.dumps({"machine": {}, "rows": rows}).encode()


def test_a_row_decides_the_levels_that_it_measures_and_no_others() -> None:
    measured = bench_measurements(file_of({"name": "registration at a steady 500/s", "measured": SPREAD}))
    found = {each.level.name: each for each in verdicts(measured)}
    assert found["registration_p50"].measured == pytest.approx(0.003)
    assert found["registration_p50"].kept is Kept.MET
    assert found["registration_p95"].kept is Kept.MISSED
    assert found["registration_p99"].kept is Kept.MET
    decided = {name for name, each in found.items() if each.kept is not Kept.UNKNOWN}
    assert decided == {"registration_p50", "registration_p95", "registration_p99"}


def test_a_figure_is_a_number() -> None:
    name = "start with 100,000 instances until it serves"
    measured = bench_measurements(file_of({"name": name, "unit": "s", "measured": 4.5}))
    assert {each.level.name: each.kept for each in verdicts(measured)}["cold_start"] is Kept.MET


@pytest.mark.parametrize("value", [None, True, "4", {"p50_ms": "fast"}, [], float("nan")])
def test_a_row_without_a_number_measures_nothing(value: object) -> None:
    rows = [{"name": each, "measured": value} for each in ("registration at a steady 1/s", "propagation: x")]
    assert {each.kept for each in verdicts(bench_measurements(file_of(*rows)))} == {Kept.UNKNOWN}


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"rows": 3}', b'{"rows": [3]}', b"[" * 100_000, b"\xff"])
def test_another_kind_of_file_is_refused(text: bytes) -> None:
    with pytest.raises(UnusableBenchFile, match="make bench"):
        bench_measurements(text)
