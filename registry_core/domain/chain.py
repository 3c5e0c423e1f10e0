"""Chains of followers: who follows whom, up to the registry, and why nobody may follow itself. Pure.

Each replica draws an id when it starts. The answer to `/watch` names the ids from that replica up to the registry, so
a follower that finds its own id there would follow itself, perhaps through others or through a load balancer. A request
that is passed on names the followers that it came through, and is refused by one that is among them.
"""

from __future__ import annotations

import re
from typing import Final

from registry_core.errors import Unavailable

# In answers to /watch: the ids from the answering replica up to the registry.
CHAIN_HEADER: Final = "X-Registry-Chain"
# In requests that are passed on: the ids of the followers that they came through, the first one first.
VIA_HEADER: Final = "X-Registry-Via"
# In requests for /watch: the id of the follower that asks.
FOLLOWER_HEADER: Final = "X-Registry-Follower"
# Replicas in one chain, the registry's included. Each adds a hop to every change, and a fan-out of hundreds.
MAX_DEPTH: Final = 8
_ID: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)
_MAX_HEADER: Final = 20 * MAX_DEPTH
# Until somebody changes its settings, a loop stays one.
RETRY_AFTER_S: Final = 5.0


class FollowLoop(Unavailable):
    """Raised when a follower would follow itself, or pass a request on to itself; or when a chain is too long."""


def ids_in(header: str) -> tuple[str, ...]:
    """Return the ids that a header names; of a header that is not of our form none."""
    if not header or len(header) > _MAX_HEADER:
        return ()
    ids = tuple(item.strip() for item in header.split(","))
    return ids if all(map(_ID.fullmatch, ids)) else ()


def header_of(ids: tuple[str, ...]) -> str:
    """Return the header that names these ids."""
    return ", ".join(ids)


def require_no_loop(own: str, upstream: tuple[str, ...], url: str) -> None:
    """Raise FollowLoop unless the follower `own` may follow the replica at `url`, which has this chain."""
    if own in upstream:
        way = "itself" if upstream[0] == own else f"a registry that follows it, {upstream.index(own)} hops up"
        raise FollowLoop(f"REGISTRY_FOLLOW: {url} leads this follower to {way}", retry_after_s=RETRY_AFTER_S)
    if len(upstream) >= MAX_DEPTH:
        raise FollowLoop(
            f"REGISTRY_FOLLOW: {url} is at the end of a chain of {len(upstream)}, and {MAX_DEPTH} is the most",
            retry_after_s=RETRY_AFTER_S,
        )


def onward(own: str, via: tuple[str, ...]) -> str:
    """Return the header of a request that `own` passes on and that came through `via`. Raises FollowLoop."""
    if own in via:
        raise FollowLoop(
            "this request was passed on by this follower before: REGISTRY_FOLLOW leads it to itself",
            retry_after_s=RETRY_AFTER_S,
        )
    if len(via) >= MAX_DEPTH - 1:
        raise FollowLoop(
            f"this request came through {len(via)} followers, and {MAX_DEPTH - 1} is the most",
            retry_after_s=RETRY_AFTER_S,
        )
    return header_of((*via, own))
