"""The wire type of a follower's report, which is part of an acknowledgement of its watch."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from registry_core.api.deployment_schemas import ReplicaSummary
from registry_core.usage.followed import MAX_ENTRIES, FollowedUsage
from registry_core.usage.ledger import AgentEntry


class FollowerReport(msgspec.Struct, kw_only=True):
    """What a follower says of itself, of the followers below, and of agents. A later release may say more.

    It is taken by a replica whose answer to /watch names its chain. What is missing has not changed. `ending`: it is
    the last one.
    """

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}(?!\n)$")]
    replica: ReplicaSummary | None = None
    usage: FollowedUsage | None = None
    agents: Annotated[list[AgentEntry], Meta(max_length=MAX_ENTRIES)] = []
    ending: bool = False
