"""Verdicts on service levels: what was not measured is never met."""

from __future__ import annotations

import math

from cli.slo.levels import LEVELS, Decides, Level, LevelUnit
from cli.slo.verdicts import Kept, Measurement, as_json, lines, shown_value, verdict, verdicts

MOST = Level("most", "a lookup", LevelUnit.SECONDS, 0.01)
LEAST = Level("least", "lookups", LevelUnit.PER_SECOND, 100, at_least=True)


def test_a_bound_itself_is_met() -> None:
    assert verdict(MOST, Measurement(0.01)).kept is Kept.MET
    assert verdict(MOST, Measurement(0.0101)).kept is Kept.MISSED
    assert verdict(LEAST, Measurement(100)).kept is Kept.MET
    assert verdict(LEAST, Measurement(99)).kept is Kept.MISSED


def test_what_was_not_measured_is_unknown_and_says_why() -> None:
    for value in (None, math.nan, math.inf):
        found = verdict(MOST, Measurement(value, "nobody asked"))
        assert (found.kept, found.measured, found.why) == (Kept.UNKNOWN, None, "nobody asked")
    assert {each.kept for each in verdicts({})} == {Kept.UNKNOWN}
    assert all(each.why for each in verdicts({}))


def test_a_low_load_misses_no_throughput() -> None:
    assert verdict(LEAST, Measurement(3, decides=Decides.MET)).kept is Kept.UNKNOWN
    assert verdict(LEAST, Measurement(300, decides=Decides.MET)).kept is Kept.MET


def test_a_part_of_the_way_in_time_meets_nothing() -> None:
    assert verdict(MOST, Measurement(0.001, decides=Decides.MISSED)).kept is Kept.UNKNOWN
    assert verdict(MOST, Measurement(1, decides=Decides.MISSED)).kept is Kept.MISSED


def test_every_level_has_a_verdict_in_the_order_of_the_table() -> None:
    assert [each.level for each in verdicts({"availability": Measurement(1)})] == list(LEVELS)


def test_the_table_says_what_was_promised_and_measured() -> None:
    told = lines(verdicts({"lookup_p95": Measurement(0.0042), "availability": Measurement(0.9)}))
    (lookup,) = [line for line in told if line.startswith("lookup at a replica, p95")]
    assert lookup.split("  ")[-1].strip() == "met"
    assert "<= 10 ms" in lookup
    assert "4.2 ms" in lookup
    assert any("90 %" in line and "missed" in line for line in told)
    assert told[-1] == f"1 met, 1 missed, {len(LEVELS) - 2} unknown"


def test_programs_get_names_units_and_what_was_missed() -> None:
    said = as_json(verdicts({"restart": Measurement(60)}), {"bench": "a.json"})
    assert said["missed"] == ["restart"]
    (level,) = [each for each in said["levels"] if each["name"] == "restart"]
    assert (level["measured"], level["unit"], level["verdict"]) == (60, "s", "missed")


def test_figures_are_shown_in_readable_units() -> None:
    assert shown_value(0.002, LevelUnit.SECONDS) == "2 ms"
    assert shown_value(75, LevelUnit.SECONDS) == "75 s"
    assert shown_value(0.9995, LevelUnit.SHARE) == "99.95 %"
    assert shown_value(10_000, LevelUnit.PER_SECOND) == "10,000/s"
    assert shown_value(3, LevelUnit.REQUESTS) == "3"
