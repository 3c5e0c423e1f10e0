"""The state of a follower towards its upstream, for health, the deployment's page and metrics."""

from __future__ import annotations

import msgspec

from registry_core.api.health_schemas import FollowHealth
from registry_core.domain.freshness import Freshness


class UpstreamState(msgspec.Struct, frozen=True, kw_only=True):
    """What a follower follows at this moment.

    `state` is the registry's as it was last reported, "" before. `age_s` counts since it last confirmed what is in
    view; None before the first snapshot. `problem` is "" while the watch is live.
    """

    urls: tuple[str, ...]
    connected_to: str  # "" while no watch is up
    state: str
    freshness: Freshness
    age_s: float | None
    cursor: str
    snapshots: int  # read since the start
    resumed: int  # streams that went on from a cursor since the start
    losses: int  # streams that ended without being meant to
    lost_s: float | None  # since the watch was lost; None while it is up
    problem: str
    protocol: int  # of the watch that is read; 0 before the first one
    path: tuple[str, ...] = ()  # the ids of the registries from this one's upstream to the one with the store


def follow_health(state: UpstreamState) -> FollowHealth:
    """Return what `/health` says of it."""
    return FollowHealth(
        upstreams=list(state.urls),
        connected_to=state.connected_to,
        state=state.state,
        freshness=state.freshness.value,
        age_s=state.age_s,
        lost_s=state.lost_s,
        problem=state.problem,
        path=list(state.path),
    )
