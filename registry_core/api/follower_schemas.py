"""The wire type of a follower's report, which is part of an acknowledgement of its watch."""

from __future__ import annotations

import msgspec

from registry_core.api.deployment_schemas import ReplicaSummary


class FollowerReport(msgspec.Struct, kw_only=True):
    """What a follower says of itself and of the followers below. Unknown fields are ignored: a later one may say more.

    It is taken by a replica whose answer to /watch names its chain. `ending`: it is the last one.
    """

    replica: ReplicaSummary
    ending: bool = False
