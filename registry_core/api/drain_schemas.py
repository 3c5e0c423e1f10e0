"""The wire types of confirmed drains: what a watcher acknowledges, and the progress of a drain."""

from __future__ import annotations

import msgspec

from registry_core.api.follower_schemas import FollowerReport
from registry_core.domain.records import Status
from registry_core.usage.report import AgentReport


class AcknowledgeBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`POST /watch/ack`: the id of X-Watcher, and the cursor up to which everything is in use.

    An empty cursor acknowledges nothing. A report goes only to a replica whose answer to /watch asks for reports, and a
    follower's to one whose answer names its chain.
    """

    watcher: str
    cursor: str
    report: AgentReport | None = None
    follower: FollowerReport | None = None


class AcknowledgedView(msgspec.Struct, kw_only=True):
    """The answer to `POST /watch/ack`."""

    status: str  # "acknowledged"


class ReplicaDrain(msgspec.Struct, kw_only=True):
    """The counts of one replica: watchers that acknowledge and follow the service, and those that know of the drain."""

    watchers: int
    acknowledged: int


class DrainView(msgspec.Struct, kw_only=True):
    """`GET /drain/{service}/{instance}`: how many watchers know that an instance drains.

    They are those of this replica and of its peers.
    """

    service_name: str
    instance_id: str
    status: Status
    revision: str  # the cursor at which it began to drain; "" when it does not
    watchers: int  # that acknowledge, and follow the service
    acknowledged: int  # of these, the ones that have applied it; 0 when it does not drain
    by_replica: dict[str, ReplicaDrain] = {}  # the same, by the random id of each replica
    silent_replicas: int = 0  # peers that did not answer, or have not heard of it themselves
