"""Estimates an instance's last heartbeat and the remaining TTL of its lease. Pure.

A registry does not send its agents every renewal: for ten thousand instances that would be 13 kB/s without any
change. Its keepalive names the leases that are late, and implies that all others were renewed within a bound.
The values shown for those are therefore bounds too: the earliest last heartbeat, and the least remaining TTL. A value
of 0 or less does not prove that the lease has ended.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from registry_core.domain.records import InstanceKey
from registry_core.watch.changes import LeaseReport
from registry_core.watch.clock import RegistryClock
from registry_core.watch.limits import LATE_AFTER_TTLS


class LeaseTimes:
    """The lease times of one registry. Callers pass `now`, a monotonic time, and the record's own heartbeat."""

    def __init__(self, ttl_s: float) -> None:
        self.ttl_s = ttl_s
        self._clock = RegistryClock()
        self._leases: LeaseReport | None = None  # the latest report; None from a registry of version 1
        self._told_at = 0.0

    def opened(self, registry_time: float | None, now: float) -> None:
        """Record that a stream was opened when the registry's clock showed `registry_time` (Unix seconds)."""
        if registry_time is not None:
            self._clock.set(registry_time, now)

    def heard_of(self, heartbeats: Iterable[float], now: float, most_age_s: float) -> None:
        """Record heartbeats that the registry just reported; the newest is between 0 and `most_age_s` old."""
        self._clock.heard_of(heartbeats, now, most_age_s)

    def told(self, leases: LeaseReport | None, now: float, *, knows_all: bool = True) -> None:
        """Apply the lease report of a keepalive, which implies the registry's TTL.

        An agent that registers nothing is granted no lease, so it learns the TTL only here. A registry that does not
        know all instances (`knows_all`) cannot name those that it does not know as late.
        """
        if leases is not None:
            self.ttl_s = leases.late_after_s / LATE_AFTER_TTLS
            if not knows_all:
                leases = msgspec.structs.replace(leases, all_named=False)
        self._leases, self._told_at = leases, now

    def heartbeat_at(self, key: InstanceKey, known: float, now: float) -> float:
        """Return the earliest time of the last heartbeat of `key`, in Unix seconds; `known` is the last certain one."""
        leases, registry_now = self._leases, self._clock.at(now)
        if leases is None:
            return known
        if key in leases.late:
            return max(known, leases.late[key])
        if not leases.all_named or registry_now is None:
            return known
        return max(known, registry_now - (now - self._told_at) - leases.late_after_s)

    def ttl_remaining_s(self, key: InstanceKey, known: float, now: float) -> float:
        """Return the least remaining TTL of `key`; 0 if unknown. Not positive: it may have ended."""
        leases, registry_now = self._leases, self._clock.at(now)
        if leases is not None and key in leases.late:
            known = max(known, leases.late[key])
        left_s = 0.0 if registry_now is None else known + self.ttl_s - registry_now
        if leases is not None and leases.all_named and key not in leases.late:
            bound_s = self.ttl_s - leases.late_after_s - (now - self._told_at)
            left_s = bound_s if registry_now is None else max(left_s, bound_s)
        return min(self.ttl_s, left_s)
