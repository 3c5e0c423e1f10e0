"""The mass-expiry guard as shown to people: the worst of all shards, rounded numbers, and the reason."""

from __future__ import annotations

import itertools

import pytest

from registry_core.api.guard_report import GUARD_HEALTH, guard_view
from registry_core.api.health import Health
from registry_core.domain.guard import GuardPhase
from registry_core.ports.reports import GuardReport

CLEAR = GuardReport("a", GuardPhase.CLEAR, 40, 0, 0.0, None, 4.0)
HOLDING = GuardReport("b", GuardPhase.HOLDING, 90, 31, 12.3456, 287.6543, 9.04)
RELEASING = GuardReport("c", GuardPhase.RELEASING, 1000, 7, 301.96, None, 100.0)


def test_without_shards_nothing_is_held() -> None:
    view = guard_view([])
    assert (view.phase, view.suspects, view.shards) == (GuardPhase.CLEAR, 0, [])


@pytest.mark.parametrize(
    ("reports", "worst"),
    [
        ([CLEAR], GuardPhase.CLEAR),
        ([CLEAR, RELEASING], GuardPhase.RELEASING),
        ([CLEAR, HOLDING], GuardPhase.HOLDING),
        ([RELEASING, HOLDING], GuardPhase.HOLDING),
        ([CLEAR, RELEASING, HOLDING], GuardPhase.HOLDING),
    ],
)
def test_the_worst_shard_decides_whatever_the_order(reports: list[GuardReport], worst: GuardPhase) -> None:
    for order in itertools.permutations(reports):
        assert guard_view(order).phase is worst


def test_suspects_of_all_shards_are_counted() -> None:
    view = guard_view(iter([HOLDING, CLEAR, RELEASING]))
    assert view.suspects == 38
    assert [(shard.shard, shard.suspects) for shard in view.shards] == [("b", 31), ("a", 0), ("c", 7)]


def test_seconds_and_budgets_are_shown_to_a_tenth() -> None:
    (shard,) = guard_view([HOLDING]).shards
    assert (shard.instances, shard.held_seconds, shard.releases_in_seconds, shard.budget_per_minute) == (
        90,
        12.3,
        287.7,
        9.0,
    )


@pytest.mark.parametrize("report", [CLEAR, RELEASING])
def test_a_guard_that_does_not_hold_has_no_time_of_release(report: GuardReport) -> None:
    (shard,) = guard_view([report]).shards
    assert shard.releases_in_seconds is None


def test_a_guard_that_is_about_to_release_has_one() -> None:
    report = GuardReport("a", GuardPhase.HOLDING, 10, 5, 300.0, 0.0, 3.0)
    (shard,) = guard_view([report]).shards
    assert shard.releases_in_seconds == 0.0


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (CLEAR, "leases run out one by one"),
        (
            HOLDING,
            (
                "too many leases ran out at once: 31 of 90 instances are kept as suspect "
                "until they are heard of or released"
            ),
        ),
        (RELEASING, "released: 7 of 1000 instances are suspect, and 100 a minute go, in random order"),
        (
            GuardReport("c", GuardPhase.RELEASING, 45, 20, 301.0, None, 4.5),
            "released: 20 of 45 instances are suspect, and 4.5 a minute go, in random order",
        ),
    ],
)
def test_one_sentence_gives_the_reason(report: GuardReport, reason: str) -> None:
    (shard,) = guard_view([report]).shards
    assert shard.reason == reason


def test_every_phase_maps_to_a_health_state() -> None:
    assert GUARD_HEALTH.keys() == set(GuardPhase)
    healthy = [phase for phase, health in GUARD_HEALTH.items() if health is Health.HEALTHY]
    assert healthy == [GuardPhase.CLEAR]
    assert Health.UNHEALTHY not in GUARD_HEALTH.values(), "everything is still served"
