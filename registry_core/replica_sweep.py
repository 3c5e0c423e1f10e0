"""Sweeps the leases of one replica's store, and says what left: the store decides what is due."""

from __future__ import annotations

import structlog

from registry_core.api.write_access import WriteAccess
from registry_core.domain.leases import LeaseTerms
from registry_core.errors import StoreUnavailable
from registry_core.ports.store import Store
from registry_core.replica_health import ReplicaHealth
from registry_core.telemetry.guard_log import GuardLog
from registry_core.telemetry.metrics import ReplicaMetrics

log = structlog.get_logger()


class ReplicaSweep:
    """The sweeps of `store`; none while every write is refused, since then no lease can be renewed."""

    def __init__(
        self, store: Store, access: WriteAccess, health: ReplicaHealth, metrics: ReplicaMetrics, terms: LeaseTerms
    ) -> None:
        self.store = store
        self._access = access
        self._health = health
        self._metrics = metrics
        self._terms = terms
        self._spared = False
        self._guard_log = GuardLog()

    async def sweep(self) -> None:
        """Sweep once. Raises StoreUnavailable for shards that could not be swept."""
        if self._access.refuses_all:
            return  # the first sweep after this extends all leases by the gap
        report = await self.store.sweep()
        self._spared = report.spared
        if not report.unswept:
            self._health.swept()
        if report.amnesty_s:
            log.warning("nobody swept for a while: all leases extended", amnesty_s=round(report.amnesty_s, 1))
        if report.expired:
            self._metrics.expired.inc(len(report.expired))
            log.info(
                "instances expired",
                count=len(report.expired),
                instances=[f"{key.label}/{key.instance_id}" for key in report.expired[:20]],
            )
        self._guard_log.see(self.store.guards())
        if report.unswept:
            raise StoreUnavailable("; ".join(f"shard {shard!r}: {reason}" for shard, reason in report.unswept))

    def next_s(self) -> float:
        """Return in how many seconds the next sweep is due."""
        # Timers fire late and a sweep takes time, but the terms promise that the period is never exceeded.
        # An instance that a sweep spared so as not to empty its service is overdue all the same.
        return (0.1 if self._spared else 0.8) * self._terms.sweep_every_s
