"""When an instance was last heard of, and what is left of its lease, as far as an agent knows. Pure.

A registry does not tell its agents of each renewal: ten thousand instances would be 13 kB/s for nothing that changed.
Its sign of life names the leases that are late. Of all others it says that they were renewed within a bound, so what is
shown of those is a bound as well: at least so much is left, and it was not heard of before then.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.registries.clock import RegistryClock
from registry_core.domain.records import InstanceKey
from registry_core.watch.changes import LeaseReport


class LeaseTimes:
    """What is known of the leases of one registry. Callers pass `now`, a monotonic time, and what a record says."""

    def __init__(self, ttl_s: float) -> None:
        self.ttl_s = ttl_s
        self._clock = RegistryClock()
        self._leases: LeaseReport | None = None  # the registry's last word; None from a registry of version 1
        self._told_at = 0.0

    def opened(self, registry_time: float | None, now: float) -> None:
        """Take note that a stream was opened, when the registry's clock showed `registry_time` (Unix seconds)."""
        if registry_time is not None:
            self._clock.set(registry_time, now)

    def heard_of(self, heartbeats: Iterable[float], now: float, most_age_s: float) -> None:
        """Take note of heartbeats that the registry spoke of now; the newest is from 0 to `most_age_s` old."""
        self._clock.heard_of(heartbeats, now, most_age_s)

    def told(self, leases: LeaseReport | None, now: float) -> None:
        """Take the word of a sign of life."""
        self._leases, self._told_at = leases, now

    def heartbeat_at(self, key: InstanceKey, known: float, now: float) -> float:
        """Return when `key` was last heard of, at the earliest (Unix seconds); `known`: when it last was for sure."""
        leases, registry_now = self._leases, self._clock.at(now)
        if leases is None:
            return known
        if key in leases.late:
            return max(known, leases.late[key])
        if not leases.all_named or registry_now is None:
            return known
        return max(known, registry_now - (now - self._told_at) - leases.late_after_s)

    def ttl_remaining_s(self, key: InstanceKey, known: float, now: float) -> float:
        """Return what is left of the TTL of `key`, at least; 0 when nobody can say, and less when it is overdue."""
        leases, registry_now = self._leases, self._clock.at(now)
        if leases is not None and key in leases.late:
            known = max(known, leases.late[key])
        left_s = 0.0 if registry_now is None else known + self.ttl_s - registry_now
        if leases is not None and leases.all_named and key not in leases.late:
            bound_s = self.ttl_s - leases.late_after_s - (now - self._told_at)
            left_s = bound_s if registry_now is None else max(left_s, bound_s)
        return min(self.ttl_s, left_s)
