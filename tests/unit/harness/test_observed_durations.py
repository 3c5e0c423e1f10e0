"""Rules with short durations: nothing but the durations changes, and their order stays."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.observed.durations import SHORTER_S, quick_expression, quick_rule, seconds, shorter
from tests.observed.rules import metrics_in, product_rules, quick_rules


def test_a_longer_window_stays_longer() -> None:
    assert all(one < other for one, other in pairwise(limit for limit, _ in SHORTER_S))
    assert all(one < other for one, other in pairwise(short for _, short in SHORTER_S))


def test_windows_offsets_and_steps_are_shortened_and_nothing_else() -> None:
    was = 'rate(a{b="[5m]x"}[5m]) > 300 and max_over_time(c[1h:30s]) > 0 or d offset 1d and e[7d:] == 5'
    assert quick_expression('rate(a{b="c"}[5m]) > 300') == 'rate(a{b="c"}[5s]) > 300'
    assert "max_over_time(c[15s:1s]) > 0" in quick_expression(was)
    assert "d offset 30s" in quick_expression(was)
    assert "e[40s:] == 5" in quick_expression(was)


def test_the_time_until_an_alert_fires_is_short() -> None:
    rule = {"alert": "A", "expr": "up == 0", "for": "5m", "labels": {"severity": "info"}}
    assert quick_rule(rule) == {**rule, "for": "2s"}
    assert "for" not in quick_rule({"alert": "B", "expr": "up == 0"})


@pytest.mark.parametrize("wrong", ["", "5", "m5", "5 m", "5m x"])
def test_what_is_no_duration_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        seconds(wrong)


def test_a_window_beyond_the_longest_is_refused() -> None:
    with pytest.raises(ValueError, match="SHORTER_S"):
        shorter("30d")


def test_every_rule_of_the_product_can_be_shortened() -> None:
    quick = quick_rules({})
    for kind in ("alert", "record"):
        before, after = product_rules().named(kind), quick.named(kind)
        assert [rule[kind] for rule in before] == [rule[kind] for rule in after]
        for was, is_now in zip(before, after, strict=True):
            assert metrics_in(was["expr"]) == metrics_in(is_now["expr"])


def test_a_threshold_that_does_not_stand_there_is_an_error() -> None:
    name = product_rules().named("alert")[0]["alert"]
    with pytest.raises(ValueError, match=name):
        quick_rules({name: ("> 123456", "> 1")})


def test_the_metrics_of_an_expression_are_found() -> None:
    found = metrics_in('sum by (shard) (rate(registry_a_total{job="up"}[5m])) / on () slo:b:rate5m unless up == 0')
    assert found == {"registry_a_total", "slo:b:rate5m", "up"}
