"""Leases: granted by a registration, renewed by heartbeats, ended by the sweep alone.

This file knows neither a clock nor a store: `now` is an argument, in seconds of whatever clock the
store keeps. An instance goes at the end of its TTL and its grace, less one period of the sweep, so
that the promise "gone at most ttl + grace after the last heartbeat" holds whenever the sweep runs.
"""

from __future__ import annotations

import msgspec

from registry_core.domain.records import InstanceKey


class LeaseTerms(msgspec.Struct, frozen=True):
    """The terms of every lease, in seconds."""

    ttl_s: float = 60.0
    heartbeat_s: float = 30.0
    grace_s: float = 15.0
    sweep_every_s: float = 1.0
    # No sweep for longer than this means that nobody was looking, not that nobody was alive.
    amnesty_after_s: float = 5.0

    @property
    def removed_after_s(self) -> float:
        """The age of a heartbeat at which the sweep removes the instance."""
        return self.ttl_s + self.grace_s - self.sweep_every_s


class SweepPlan(msgspec.Struct, frozen=True):
    """What one sweep found: the keys to expire, oldest first, and the time given to all, if any."""

    expired: tuple[InstanceKey, ...]
    amnesty_s: float


class Leases:
    """The leases of one shard, ordered by their last renewal: a sweep looks at the old end only.

    Times given to it must not fall; the store passes a monotonic clock.
    """

    def __init__(self, terms: LeaseTerms, now: float) -> None:
        self.terms = terms
        self._renewed_at: dict[InstanceKey, float] = {}
        self._swept_at = now

    def __len__(self) -> int:
        return len(self._renewed_at)

    def __contains__(self, key: InstanceKey) -> bool:
        return key in self._renewed_at

    def grant(self, key: InstanceKey, now: float) -> None:
        """Start a lease for `key`, or start it anew."""
        self._renewed_at.pop(key, None)  # to the young end of the order
        self._renewed_at[key] = now

    def renew(self, key: InstanceKey, now: float) -> bool:
        """Extend the lease of `key`; False when there is none, and then nothing is changed."""
        if key not in self._renewed_at:
            return False
        self.grant(key, now)
        return True

    def release(self, key: InstanceKey) -> bool:
        """End the lease of `key` at once; False when there was none."""
        return self._renewed_at.pop(key, None) is not None

    def remaining_s(self, key: InstanceKey, now: float) -> float:
        """Return the seconds left of the TTL; negative in the grace, and when there is no lease."""
        renewed_at = self._renewed_at.get(key)
        return -self.terms.grace_s if renewed_at is None else renewed_at + self.terms.ttl_s - now

    def overdue(self, key: InstanceKey, now: float) -> bool:
        """Return whether the TTL of `key` has passed: it is served still, but owns nothing."""
        return self.remaining_s(key, now) < 0.0

    def sweep(self, now: float) -> SweepPlan:
        """End what has run out by `now`, and return it.

        When no sweep ran for too long (the process was stopped, the machine slept), everybody is
        given the gap first: heartbeats could not have been taken meanwhile.
        """
        gap = now - self._swept_at
        amnesty_s = gap if gap > self.terms.amnesty_after_s else 0.0
        self._swept_at = now
        if amnesty_s:
            # Never into the future: who renewed within the gap (the process was only slow) has the
            # full term from now, and the order is kept.
            self._renewed_at = {key: min(at + amnesty_s, now) for key, at in self._renewed_at.items()}
        expired: list[InstanceKey] = []
        for key, renewed_at in self._renewed_at.items():
            if now - renewed_at < self.terms.removed_after_s:
                break
            expired.append(key)
        for key in expired:
            del self._renewed_at[key]
        return SweepPlan(tuple(expired), amnesty_s)
