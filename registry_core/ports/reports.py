"""How a store stands, for those who judge and show it: `/health`, `/guard`, the metrics and the log."""

from __future__ import annotations

import msgspec

from registry_core.domain.breaker import BreakerState
from registry_core.domain.guard import GuardPhase


class GuardReport(msgspec.Struct, frozen=True):
    """How the mass-expiry guard of one shard stands."""

    shard: str
    phase: GuardPhase
    instances: int
    suspects: int
    held_s: float  # since it began to hold; 0 when it is clear
    releases_in_s: float | None  # until it lets go by itself; None when it does not hold
    budget_per_minute: float  # how many may go in a minute once it lets go


class PoolReport(msgspec.Struct, frozen=True):
    """The connections to the master of one shard."""

    in_use: int
    idle: int
    most: int


class ShardReport(msgspec.Struct, frozen=True):
    """How one shard of a store that is not in this process stands.

    `set_aside` counts the entries that cannot be read: nothing is answered from them, and a lookup that one of them
    might answer is refused with 503. `notes` say what an operator should change about the servers of the shard.
    """

    shard: str
    master: str  # host:port; "" when none is known
    problem: str  # in words for people; "" when all is well
    epoch: str
    revision: int
    age_s: float | None  # since it last confirmed that everything was delivered; None when it never did
    writes_waiting: int
    breaker: BreakerState
    breaker_failures: int  # in a row
    last_failure: str
    last_failure_at: float | None  # Unix seconds
    not_closed_s: float  # since its breaker opened without closing again; 0 while it is closed
    latency_ms: float | None  # of the master's latest answers; None when none is known
    connection_pool: PoolReport | None  # None when no master is known
    set_aside: int = 0
    notes: tuple[str, ...] = ()
