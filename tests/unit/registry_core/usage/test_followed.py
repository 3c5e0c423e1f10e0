"""Agents behind followers are known to the registry as if they reported to it, and what it cannot know it says."""

from __future__ import annotations

import math

import msgspec

from registry_core.usage.followed import (
    MAX_DIRECT,
    MAX_ENTRIES,
    MAX_ENTRY_BYTES,
    FollowedUsage,
    entries_since,
    in_batches,
    usage_of,
    with_followed,
)
from registry_core.usage.ledger import AgentEntry, AgentLedger, ReplicaPart
from registry_core.usage.limits import MAX_REPORT_PAIRS
from registry_core.usage.report import AgentReport, Asked, Face, agent_id_of

EVERY_S = 30.0


def report(number: int, sequence: int = 1, *asked: Asked) -> AgentReport:
    return AgentReport(key=f"{number:032x}", sequence=sequence, host=f"host-{number}", usage=asked)


def asked(label: str, count: int = 1, ago_s: float = 1.0, face: Face = Face.DNS) -> Asked:
    return Asked(label, face, count, ago_s)


def part(**fields: object) -> ReplicaPart:
    return msgspec.structs.replace(
        ReplicaPart(replica="registry", every_s=EVERY_S, complete_s=900.0, agents=[]), **fields
    )


def told(below: AgentLedger, above: AgentLedger, since: float, now: float, name: str = "edge") -> None:
    """Tell a ledger what one below has heard since."""
    for entry in entries_since(below, since, now, EVERY_S):
        above.take_entry(entry, now, name)


def test_what_an_agent_asked_for_arrives_through_two_followers_and_each_count_once() -> None:
    far, near, top = AgentLedger(0.0), AgentLedger(0.0), AgentLedger(0.0)
    far.take(report(1, 1, asked("billing", 3), asked("shop", 1)), 100.0)
    told(far, near, -math.inf, 102.0, "far")
    told(near, top, -math.inf, 104.0, "near")
    far.take(report(1, 2, asked("billing", 5)), 130.0)
    told(far, near, 102.0, 134.0, "far")
    # What a lower one told late is news here all the same.
    told(near, top, 132.0, 136.0, "near")
    (agent_id,) = top.ids()
    entry = top.entry(agent_id, 136.0)
    assert entry is not None
    assert (entry.agent_id, entry.registry, entry.report.sequence) == (agent_id_of(report(1).key), "far", 2)
    assert entry.reported_ago_s == 6.0
    assert {(one.label, one.count) for one in entry.report.usage} == {("billing", 5), ("shop", 1)}


def test_an_agent_that_moves_to_the_registry_is_no_longer_the_followers() -> None:
    below, top = AgentLedger(0.0), AgentLedger(0.0)
    below.take(report(1), 1.0)
    told(below, top, -math.inf, 2.0)
    top.take(report(1, 2), 3.0)
    told(below, top, -math.inf, 4.0)
    entry = top.entry(top.ids()[0], 4.0)
    assert entry is not None
    assert (entry.registry, entry.report.sequence, entry.reported_ago_s) == ("", 2, 1.0)


def test_a_follower_tells_news_alone() -> None:
    below = AgentLedger(0.0)
    for number in range(5):
        below.take(report(number), float(number))
    assert [one.report.host for one in entries_since(below, 2.0, 9.0, EVERY_S)] == ["host-4", "host-3"]
    assert list(entries_since(below, 9.0, 9.0, EVERY_S)) == []


def test_old_questions_are_told_once() -> None:
    below = AgentLedger(0.0)
    below.take(report(1, 1, asked("old", ago_s=0.0)), 0.0)
    below.take(report(1, 2, asked("new", ago_s=0.0)), 1_000.0)
    (entry,) = entries_since(below, 990.0, 1_000.0, EVERY_S)
    assert [one.label for one in entry.report.usage] == ["new"]


def test_reports_are_small_enough_to_be_sent() -> None:
    below = AgentLedger(0.0)
    many = [asked(f"{number}-{'x' * 50}") for number in range(900)]
    for number in range(3):
        for start in range(0, len(many), MAX_REPORT_PAIRS):
            below.take(report(number, start + 1, *many[start : start + MAX_REPORT_PAIRS]), 1.0)
    for number in range(3, 3 + 2 * MAX_ENTRIES):
        below.take(report(number), 2.0)
    batches = list(in_batches(entries_since(below, -math.inf, 3.0, EVERY_S)))
    assert sum(map(len, batches)) == 2 * MAX_ENTRIES + 9
    for batch in batches:
        assert len(batch) <= MAX_ENTRIES
        data = msgspec.json.encode(batch)
        assert len(batch) == 1 or len(data) <= MAX_ENTRY_BYTES + MAX_ENTRIES
        assert msgspec.json.decode(data, type=list[AgentEntry]) == batch
    assert list(in_batches([])) == [[]]


def test_a_registry_with_followers_knows_no_more_than_they_do() -> None:
    own = part(direct=(asked("billing", 1, 5.0),), direct_s=10.0)
    edge = FollowedUsage(
        complete_s=60.0, unreported=2, left_out=1, direct=(asked("billing", 4, 1.0), asked("shop")), direct_s=99.0
    )
    whole = with_followed(own, [edge], 0)
    assert (whole.complete_s, whole.unreported, whole.left_out, whole.direct_s) == (60.0, 2, 1, 99.0)
    assert {(one.label, one.count, one.ago_s) for one in whole.direct} == {("billing", 5, 1.0), ("shop", 1, 1.0)}
    assert with_followed(own, [], 0) is own
    silent = with_followed(own, [], 1)
    assert (silent.unreported, silent.unreported_ago_s) == (1, 0.0)
    assert not with_followed(own, [msgspec.structs.replace(edge, knows_all=False)], 0).knows_all


def test_direct_questions_beyond_the_bound_are_counted_as_left_out() -> None:
    usage = usage_of(part(direct=tuple(asked(f"s-{number}", ago_s=float(number)) for number in range(MAX_DIRECT + 5))))
    assert len(usage.direct) == MAX_DIRECT
    assert usage.direct_left_out == 5
    assert usage.direct[0].label == "s-0"
