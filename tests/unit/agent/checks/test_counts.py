"""The counts of checks: each kind and result from the start, and nothing of a kind that takes no time."""

from __future__ import annotations

from agent.checks.counts import RESULTS, CheckCounts
from agent.checks.result import WELL, NotChecked, critical
from agent.checks.spec import CheckKind, CheckSpec, TcpCheck, TtlCheck


def test_results_and_durations_are_counted_by_kind() -> None:
    counts = CheckCounts()
    counts.expect([CheckSpec("a", TcpCheck()), CheckSpec("b", TtlCheck())])
    for outcome in (WELL, WELL, critical("refused"), NotChecked("no descriptor left")):
        counts.seen(CheckKind.TCP, outcome)
        counts.took(CheckKind.TCP, 0.02)
    assert {result: counts.results[CheckKind.TCP, result] for result in RESULTS} == {
        "passing": 2,
        "warning": 0,
        "critical": 1,
        "not_checked": 1,
    }
    assert [counts.results[CheckKind.TTL, result] for result in RESULTS] == [0, 0, 0, 0]
    assert list(counts.durations) == [CheckKind.TCP]
    assert (counts.durations[CheckKind.TCP].count, counts.durations[CheckKind.TCP].sum) == (4, 0.08)


def test_to_expect_a_kind_again_takes_nothing_back() -> None:
    counts = CheckCounts()
    specs = [CheckSpec("a", TcpCheck())]
    counts.expect(specs)
    counts.seen(CheckKind.TCP, WELL)
    counts.took(CheckKind.TCP, 0.02)
    counts.expect(specs)
    assert counts.results[CheckKind.TCP, "passing"] == 1
    assert counts.durations[CheckKind.TCP].count == 1
