"""The service levels: one home for the figures, and each with a way to measure it or none."""

from __future__ import annotations

import re

from cli.slo.levels import AVAILABILITY, LEVELS, PROBES, LevelUnit, latency_query
from tests.programs import ROOT


def test_each_level_has_a_name_of_its_own() -> None:
    names = [level.name for level in LEVELS]
    assert len(set(names)) == len(names) == 20
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in names)


def test_percentiles_are_ordered() -> None:
    bounds = {level.name: level.bound for level in LEVELS}
    for what in ("lookup", "registration", "heartbeat"):
        assert bounds[f"{what}_p50"] < bounds[f"{what}_p95"] < bounds[f"{what}_p99"]


def test_a_bound_can_be_kept_exactly() -> None:
    for level in LEVELS:
        assert level.keeps(level.bound)
        assert not level.keeps(level.bound * 0.99 - 1 if level.at_least else level.bound * 1.01 + 1)


def test_the_bounds_of_latencies_are_bounds_of_buckets() -> None:
    """Then no interpolation within a bucket decides whether a level is met."""
    text = (ROOT / "registry_core" / "telemetry" / "histograms.py").read_text(encoding="utf-8")
    buckets = {
        float(each) for each in re.findall(r"[\d.]+", text.partition("\nSECONDS: Final = (")[2].partition(")")[0])
    }
    latencies = [
        level for level in LEVELS if re.search(r"_p(50|95|99)$", level.name) and level.unit is LevelUnit.SECONDS
    ]
    assert {level.bound for level in latencies} <= buckets


def test_the_rows_that_levels_name_are_those_of_the_benchmark() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "bench").glob("*.py"))
    for level in LEVELS:
        if level.bench is not None:
            beginning = re.split(r"[\\.\[]", level.bench.pattern)[0].strip()
            assert beginning in text, level.name


def test_refusals_by_a_limit_are_left_out_of_latencies() -> None:
    assert 'status!="429"' in latency_query("/register", "POST", 0.95, "5m")
    assert "[5m]" in latency_query("/register", "POST", 0.95, "5m")


def test_the_rules_of_the_service_level_have_the_same_figures() -> None:
    folder = ROOT / "compose" / "observability"
    slo, rules = ((folder / name).read_text(encoding="utf-8") for name in ("slo.yml", "rules.yml"))
    assert f'endpoint!~"{PROBES}"' in slo
    budgets = set(re.findall(r"> (?:[\d.]+ \* )?(0\.000\d+)", rules))
    assert budgets == {f"{1 - AVAILABILITY:.4f}"}
