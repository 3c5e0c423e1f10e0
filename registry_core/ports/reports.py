"""The state of a store, for `/health`, `/guard`, the metrics and the log."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from registry_core.domain.breaker import BreakerState
from registry_core.domain.guard import GuardPhase


class GuardReport(msgspec.Struct, frozen=True):
    """The state of one shard's mass-expiry guard."""

    shard: str
    phase: GuardPhase
    instances: int
    suspects: int
    held_s: float  # since it began to hold; 0 when it is clear
    releases_in_s: float | None  # until it releases by itself; None when it does not hold
    budget_per_minute: float  # how many instances may expire per minute once it releases


class PoolReport(msgspec.Struct, frozen=True):
    """The connections to the master of one shard."""

    in_use: int
    idle: int
    most: int


class ShardReport(msgspec.Struct, frozen=True):
    """The state of one shard of an external store.

    `set_aside` counts unreadable entries: no answer uses them, and a lookup that one of them might answer is refused
    with 503. `notes` say what an operator should change about the shard's servers.
    """

    shard: str
    master: str  # host:port; "" when none is known
    problem: str  # in plain words; "" when all is well
    epoch: str
    revision: int
    age_s: float | None  # since it last confirmed that everything was delivered; None when it never did
    writes_waiting: int
    breaker: BreakerState
    breaker_failures: int  # in a row
    last_failure: str
    last_failure_at: float | None  # Unix seconds
    not_closed_s: float  # since its breaker opened without closing again; 0 while it is closed
    latency_ms: float | None  # of the master's latest answers; None when unknown
    connection_pool: PoolReport | None  # None when no master is known
    set_aside: int = 0
    notes: tuple[str, ...] = ()
    failovers: int = 0  # how often another server became its master, since the start
    copies: int | None = None  # replicas that hold what the master had some seconds ago; None without a master
    not_replicated: int = 0  # writes that failed because too few replicas confirmed them, since the start


def unread_in(shards: Iterable[ShardReport]) -> str:
    """Return which of these shards cannot be read whole, in words; "" when all can."""
    ill = [report for report in shards if report.age_s is None or report.set_aside]
    return ", ".join(f"shard {report.shard!r}" for report in ill) + " cannot be read whole" if ill else ""
