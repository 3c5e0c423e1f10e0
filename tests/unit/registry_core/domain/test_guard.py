"""The mass-expiry guard alone: when it holds, when it releases, how many leases go, and which."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection

import pytest

from registry_core.domain.guard import CLEAR, Census, Guard, GuardPhase, GuardTerms, drawn, sparing
from registry_core.domain.records import InstanceKey

TERMS = GuardTerms()


def keys(count: int, label: str = "ip-intel") -> list[InstanceKey]:
    return [InstanceKey(label, str(number)) for number in range(count)]


@pytest.mark.parametrize(
    ("census", "alarming"),
    [
        (Census(instances=3, overdue=3, due=3, lately_expired=0), False),
        (Census(instances=4, overdue=4, due=1, lately_expired=0), True),
        (Census(instances=100, overdue=30, due=10, lately_expired=0), False),
        (Census(instances=100, overdue=31, due=10, lately_expired=0), True),
        # Recently expired leases count in both numbers, the missing and the total.
        (Census(instances=90, overdue=20, due=10, lately_expired=10), False),
        (Census(instances=90, overdue=21, due=10, lately_expired=10), True),
    ],
)
def test_more_than_three_and_more_than_thirty_percent_are_alarming(census: Census, alarming: bool) -> None:
    assert census.alarming(TERMS) is alarming
    held = CLEAR.judged(census, TERMS, now=50.0)
    assert held.phase is (GuardPhase.HOLDING if alarming else GuardPhase.CLEAR)


def test_it_holds_for_five_minutes_whatever_happens() -> None:
    guard = Guard(held_since=100.0)
    few = Census(instances=100, overdue=1, due=1, lately_expired=0)
    assert guard.judged(few, TERMS, now=399.9).phase is GuardPhase.HOLDING
    assert guard.judged(few, TERMS, now=400.0) == Guard(held_since=100.0, released_at=400.0, next_at=400.0)


def test_it_is_clear_when_no_lease_is_due() -> None:
    nobody = Census(instances=100, overdue=40, due=0, lately_expired=0)
    for guard in (CLEAR, Guard(held_since=1.0), Guard(held_since=1.0, released_at=2.0, next_at=9.0)):
        assert guard.judged(nobody, TERMS, now=10.0) == CLEAR


def test_an_operators_release_only_ends_the_holding() -> None:
    assert Guard(held_since=1.0).released(5.0) == Guard(held_since=1.0, released_at=5.0, next_at=5.0)
    assert CLEAR.released(5.0) == CLEAR
    releasing = Guard(held_since=1.0, released_at=2.0, next_at=3.0)
    assert releasing.released(5.0) == releasing


def test_time_without_sweeps_does_not_count_as_holding() -> None:
    assert Guard(held_since=100.0).extended(50.0, now=200.0) == Guard(held_since=150.0)
    assert Guard(held_since=100.0).extended(500.0, now=200.0) == Guard(held_since=200.0)
    assert CLEAR.extended(50.0, now=200.0) == CLEAR


def test_the_budget_is_a_tenth_of_the_shard_and_at_least_three_per_minute() -> None:
    assert TERMS.budget(10) == 3
    assert TERMS.budget(500) == 50


def test_the_budget_is_spread_over_its_minute() -> None:
    guard = Guard(held_since=0.0).released(100.0)
    went: list[int] = []
    for now in range(101, 280):  # three minutes of a shard of fifty: five per minute
        allowance = guard.allowance(TERMS, 50, since=now - 1.0, now=float(now))
        went += [now] * allowance
        guard = guard.spent(allowance, TERMS, 50, since=now - 1.0)
    assert went == [101, *range(112, 280, 12)], "one every twelve seconds after the release"


def test_an_unspent_budget_is_not_saved() -> None:
    guard = Guard(held_since=0.0, released_at=100.0, next_at=101.0)
    assert guard.allowance(TERMS, 6000, since=499.0, now=500.0) == 11, "600 per minute are ten per second"


def test_a_draw_takes_as_many_as_allowed_and_none_twice() -> None:
    due = keys(10)
    taken = drawn(due, 4, {"ip-intel": 20}, random.Random(1))
    assert len(set(taken)) == 4
    assert drawn(due, 0, {"ip-intel": 20}, random.Random(1)) == []
    assert sorted(drawn(due, 99, {"ip-intel": 20}, random.Random(1)), key=due.index) == due


def test_a_draw_is_random() -> None:
    first = Counter(drawn(keys(10), 1, {"ip-intel": 20}, random.Random(seed))[0] for seed in range(200))
    assert len(first) == 10


def test_a_draw_never_empties_a_service_of_several_instances() -> None:
    due = [*keys(5, "ip-intel"), *keys(1, "billing")]
    taken = Counter(key.label for key in drawn(due, 99, {"ip-intel": 5, "billing": 1}, random.Random(3)))
    assert taken == {"ip-intel": 4, "billing": 1}


def test_the_last_of_a_service_waits_when_all_of_it_are_due() -> None:
    due = [InstanceKey(label, name) for label, name in (("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("c", "1"))]
    asked: list[set[str]] = []

    def sizes_of(labels: Collection[str]) -> dict[str, int]:
        asked.append(set(labels))
        return {"a": 2, "b": 3, "c": 1}

    assert sparing(due, sizes_of) == [due[0], *due[2:]]
    assert asked == [{"a", "b"}]
    assert sparing([due[1]], sizes_of) == [due[1]], "alone at last, it goes"
    assert len(asked) == 1, "none of them is the last of its service"
