"""What following, and being followed, means for the health of a replica. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from registry_core.api.deployment_schemas import ReplicaSummary
from registry_core.api.follower_book import SILENT, nodes
from registry_core.api.health_schemas import FollowersHealth, FollowHealth

# A follower that moves from one replica to the next is without a watch for less than this.
LOST_AFTER_S: Final = 5.0
MAX_NAMED: Final = 16


def follow_problem(follow: FollowHealth | None) -> str:
    """Return why a follower is not healthy, in a sentence; "" when it is, or follows nobody."""
    if follow is None or (follow.lost_s or 0.0) < LOST_AFTER_S:
        return ""
    because = f": {follow.problem}" if follow.problem else ""
    if follow.age_s is None:
        return f"no registry that this one follows answers, and it has never read one{because}"
    return (
        f"no registry that this one follows answers: lookups are answered as of {follow.age_s:.0f} s ago, and writes "
        f"are refused{because}"
    )


def followers_health(followers: Sequence[ReplicaSummary]) -> FollowersHealth | None:
    """Return what `/health` says of a replica's followers; None when it has none."""
    if not followers:
        return None
    silent = [one.id for one in followers if one.status == SILENT]
    return FollowersHealth(direct=len(followers), below=nodes(followers), silent=silent[:MAX_NAMED])
