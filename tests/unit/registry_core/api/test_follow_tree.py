"""The place of a replica in a tree: its chain, and those below it."""

from __future__ import annotations

import pytest

from registry_core.api.deployment_schemas import ReplicaSummary
from registry_core.api.follow_tree import FollowTree
from registry_core.api.follower_book import MAX_FOLLOWERS
from registry_core.api.follower_schemas import FollowerReport
from registry_core.errors import Overloaded
from tests.samples import FakeClock


def report(name: str, *below: str) -> FollowerReport:
    return FollowerReport(id=name, replica=summary(name, *below))


def summary(name: str, *below: str) -> ReplicaSummary:
    return ReplicaSummary(
        id=name,
        status="healthy",
        state="",
        uptime_seconds=1.0,
        services=0,
        instances=0,
        followers=[summary(one) for one in below],
    )


def test_the_chain_goes_from_a_replica_up_to_the_registry() -> None:
    registry = FollowTree("a" * 16, FakeClock())
    assert (registry.chain, registry.follows()) == ("a" * 16, "")
    follower = FollowTree("b" * 16, FakeClock(), lambda: ("c" * 16, "a" * 16))
    assert follower.chain == ", ".join(("b" * 16, "c" * 16, "a" * 16))
    assert follower.follows() == "c" * 16


def test_more_followers_than_there_is_room_for_are_told() -> None:
    tree = FollowTree("a" * 16, FakeClock())
    for number in range(MAX_FOLLOWERS):
        tree.take(report(f"{number}"), address="203.0.113.9")
    with pytest.raises(Overloaded):
        tree.take(report("one too many"), address="203.0.113.9")
    health = tree.health()
    assert health is not None
    assert health.direct == MAX_FOLLOWERS
