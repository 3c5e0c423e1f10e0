"""A follower without its registry is degraded, and says how old its answers are."""

from __future__ import annotations

from typing import Any

import pytest

from registry_core.api.deployment_schemas import ReplicaSummary
from registry_core.api.follow_health import LOST_AFTER_S, follow_problem, followers_health
from registry_core.api.follower_book import SILENT
from registry_core.api.health_schemas import FollowHealth


def follow(**fields: Any) -> FollowHealth:
    known: dict[str, Any] = {
        "upstreams": ["http://10.0.0.9:8888"],
        "connected_to": "",
        "state": "ready",
        "freshness": "stale",
        "age_s": 90.0,
        "lost_s": 90.0,
        "problem": "connection refused",
        "path": [],
    }
    return FollowHealth(**{**known, **fields})


@pytest.mark.parametrize("one", [None, follow(lost_s=None), follow(lost_s=LOST_AFTER_S - 1)])
def test_a_replica_of_its_own_and_a_short_break_are_no_problem(one: FollowHealth | None) -> None:
    assert follow_problem(one) == ""


def test_a_lost_registry_is_named_with_the_age_of_the_answers() -> None:
    assert "as of 90 s ago" in follow_problem(follow())
    assert follow_problem(follow()).endswith(": connection refused")
    assert "never read" in follow_problem(follow(age_s=None))


def test_followers_are_counted_with_those_below_and_silent_ones_named() -> None:
    def one(name: str, status: str = "healthy", *below: ReplicaSummary) -> ReplicaSummary:
        return ReplicaSummary(
            id=name, status=status, state="", uptime_seconds=1.0, services=0, instances=0, followers=list(below)
        )

    assert followers_health([]) is None
    health = followers_health([one("a", "healthy", one("c")), one("b", SILENT)])
    assert health is not None
    assert (health.direct, health.below, health.silent) == (2, 3, ["b"])
