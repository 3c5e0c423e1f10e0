"""What a replica knows of agents: the highest counts, within bounds, and since when it is complete."""

from __future__ import annotations

from typing import Any

import pytest

from registry_core.usage.ledger import AgentLedger, LedgerLimits
from registry_core.usage.limits import KEY_DIGITS
from registry_core.usage.report import AgentReport, Asked, Face, agent_id_of

SMALL = LedgerLimits(agents=3, pairs=6, agent_pairs=4, kept_s=1000.0)


def key(number: int) -> str:
    return f"{number:0{KEY_DIGITS}x}"


def report(agent: int = 1, sequence: int = 1, *asked: Asked, **more: Any) -> AgentReport:
    return AgentReport(key=key(agent), sequence=sequence, usage=asked, **more)


def asked(label: str, count: int, ago_s: float = 0.0, face: Face = Face.DNS) -> Asked:
    return Asked(label, face, count, ago_s)


def usage_of(ledger: AgentLedger, agent: int, now: float) -> dict[str, tuple[int, float]]:
    entry = ledger.entry(agent_id_of(key(agent)), now)
    assert entry is not None
    return {one.label: (one.count, one.ago_s) for one in entry.report.usage}


def test_counts_only_grow_whatever_the_order_of_reports() -> None:
    ledger = AgentLedger(0.0)
    assert ledger.take(report(1, 2, asked("billing", 7, 1.0)), 10.0)
    assert not ledger.take(report(1, 1, asked("billing", 3, 0.0)), 11.0), "it came late"
    assert not ledger.take(report(1, 2, asked("billing", 7, 1.0)), 12.0), "it came twice"
    assert usage_of(ledger, 1, 12.0) == {"billing": (7, 1.0)}, "asked as late as the late report says"


def test_a_report_without_a_pair_takes_nothing_back() -> None:
    ledger = AgentLedger(0.0)
    ledger.take(report(1, 1, asked("billing", 7), asked("search", 2)), 1.0)
    ledger.take(report(1, 2, asked("search", 3)), 5.0)
    assert usage_of(ledger, 1, 5.0) == {"billing": (7, 4.0), "search": (3, 0.0)}


def test_the_agent_that_reported_longest_ago_goes_first_and_completeness_with_it() -> None:
    ledger = AgentLedger(0.0, SMALL)
    for agent in (1, 2, 3):
        ledger.take(report(agent, 1, asked("billing", 1)), 10.0 * agent)
    ledger.take(report(1, 2), 35.0)
    ledger.take(report(4), 40.0)
    assert set(ledger.ids()) == {agent_id_of(key(n)) for n in (1, 3, 4)}
    assert (ledger.agents_left_out, ledger.pairs) == (1, 2)
    assert ledger.complete_s(40.0) == 20.0, "what was asked at 20 is forgotten"


def test_pairs_have_a_bound_for_each_agent_and_in_all() -> None:
    ledger = AgentLedger(0.0, SMALL)
    ledger.take(report(1, 1, *(asked(f"s{n}", 1) for n in range(9))), 10.0)
    assert list(usage_of(ledger, 1, 10.0)) == ["s5", "s6", "s7", "s8"]
    assert ledger.pairs_left_out == 5
    ledger.take(report(2, 1, *(asked(f"s{n}", 1) for n in range(4))), 20.0)
    assert ledger.pairs <= SMALL.pairs
    assert len(usage_of(ledger, 2, 20.0)) == 4, "the agent that reported longest ago loses its pairs"
    assert ledger.complete_s(20.0) == 10.0


def test_what_is_too_old_is_forgotten() -> None:
    ledger = AgentLedger(0.0, SMALL)
    ledger.take(report(1, 1, asked("billing", 1)), 10.0)
    ledger.tidy(1010.0)
    assert len(ledger) == 1
    ledger.tidy(1011.0)
    assert (len(ledger), ledger.pairs) == (0, 0)
    assert ledger.complete_s(5000.0) == 1000.0


def test_an_entry_has_no_key_and_its_usage_only_if_that_is_wanted() -> None:
    ledger = AgentLedger(0.0)
    ledger.take(report(1, 1, asked("billing", 1), asked("search", 2)), 1.0)
    (agent_id,) = ledger.ids()
    entry = ledger.entry(agent_id, 1.0)
    assert entry is not None
    assert [one.label for one in entry.report.usage] == ["billing", "search"]
    assert set(entry.report.key) == {"0"}
    bare = ledger.entry(agent_id, 1.0, with_usage=False)
    assert bare is not None
    assert bare.report.usage == ()
    assert ledger.entry("nobody", 1.0) is None


@pytest.mark.parametrize(("left_out", "ago_s"), [(0, None), (3, 4.0)])
def test_it_says_when_an_agent_last_left_something_out(left_out: int, ago_s: float | None) -> None:
    ledger = AgentLedger(0.0)
    ledger.take(report(1, 1), 1.0)
    ledger.take(report(1, 2, left_out=left_out), 6.0)
    entry = ledger.entry(agent_id_of(key(1)), 10.0)
    assert entry is not None
    assert entry.left_out_ago_s == ago_s
