"""Leases: granted by a registration, renewed by heartbeats, expired by the sweep alone.

This file knows neither a clock nor a store: `now` is an argument, in seconds of the store's clock.
An instance expires at the end of its TTL and grace, less one sweep period, so that the promise "gone
at most ttl + grace after the last heartbeat" holds whenever the sweep runs. When too many leases run
out at once, the guard (`guard.py`) keeps those instances for a while, and the promise is suspended.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection
from itertools import islice

import msgspec

from registry_core.domain import guard
from registry_core.domain.guard import Census, GuardPhase, GuardTerms
from registry_core.domain.records import InstanceKey
from registry_core.domain.selection import Random


class LeaseTerms(msgspec.Struct, frozen=True):
    """The terms of every lease, in seconds."""

    ttl_s: float = 60.0
    heartbeat_s: float = 30.0
    grace_s: float = 15.0
    sweep_every_s: float = 1.0
    # A longer gap between sweeps means that we were not looking, not that the instances were dead.
    amnesty_after_s: float = 5.0
    # How many may expire, and how many may turn suspect, in one sweep; the rest wait for the next. Each is an
    # event for every watcher, about 25 µs, during which nothing else is answered.
    most_per_sweep: int = 500
    guard: GuardTerms = GuardTerms()

    @property
    def missed_after_s(self) -> float:
        """The age of a heartbeat at which the next one has been missed: a sixth later than it is asked for.

        Agents send it up to a fifth early, so the sixth is for retries.
        """
        return min(self.ttl_s, self.heartbeat_s * 7 / 6)

    @property
    def removed_after_s(self) -> float:
        """The age of a heartbeat at which the sweep removes the instance."""
        return self.ttl_s + self.grace_s - self.sweep_every_s


class SweepPlan(msgspec.Struct, frozen=True):
    """The result of one sweep: expired and newly suspect instances, and the amnesty given to all, if any."""

    expired: tuple[InstanceKey, ...]
    suspected: tuple[InstanceKey, ...]
    amnesty_s: float
    spared: bool = False  # an instance only waits for the next sweep, which should be soon


class Leases:
    """The leases of one shard, ordered by their last renewal: a sweep looks at the old end only.

    Times passed to it must not decrease; the store uses a monotonic clock.
    """

    def __init__(self, terms: LeaseTerms, now: float, random: Random) -> None:
        self.terms = terms
        self.guard = guard.CLEAR
        self._random = random
        self._renewed_at: dict[InstanceKey, float] = {}
        self._suspects: set[InstanceKey] = set()
        # Time and count of each sweep's expiries, kept for one TTL. Only while the guard is clear: instances that
        # it releases later were counted when it began to hold.
        self._expiries: deque[tuple[float, int]] = deque()
        self._swept_at = now

    def __len__(self) -> int:
        return len(self._renewed_at)

    def __contains__(self, key: InstanceKey) -> bool:
        return key in self._renewed_at

    @property
    def suspect_count(self) -> int:
        """The number of due instances that the guard keeps."""
        return len(self._suspects)

    def grant(self, key: InstanceKey, now: float) -> None:
        """Start a lease for `key`, or restart it. The instance is no longer suspect: it was heard of."""
        self._renewed_at.pop(key, None)  # to the young end of the order
        self._renewed_at[key] = now
        self._suspects.discard(key)

    def renew(self, key: InstanceKey, now: float) -> bool:
        """Extend the lease of `key`. Return False, and change nothing, when there is none."""
        if key not in self._renewed_at:
            return False
        self.grant(key, now)
        return True

    def release(self, key: InstanceKey) -> bool:
        """End the lease of `key` at once. Return False when there was none."""
        self._suspects.discard(key)
        return self._renewed_at.pop(key, None) is not None

    def remaining_s(self, key: InstanceKey, now: float) -> float:
        """Return the seconds left of the TTL; negative during the grace, and when there is no lease."""
        renewed_at = self._renewed_at.get(key)
        return -self.terms.grace_s if renewed_at is None else renewed_at + self.terms.ttl_s - now

    def overdue(self, key: InstanceKey, now: float) -> bool:
        """Return whether the TTL of `key` has passed: it is still served, but can be taken over."""
        return self.remaining_s(key, now) < 0.0

    def release_guard(self, now: float) -> bool:
        """Release the guard from now on. Return False, and change nothing, when it does not hold."""
        held, self.guard = self.guard, self.guard.released(now)
        return held != self.guard

    def sweep(self, now: float) -> SweepPlan:
        """Expire the leases that ran out by `now` and those that the guard releases, and return them.

        When no sweep ran for too long (the process was stopped, the machine slept), every lease is first
        extended by the gap: no heartbeat could be received during it.
        """
        gap = now - self._swept_at
        amnesty_s = gap if gap > self.terms.amnesty_after_s else 0.0
        since = now if amnesty_s else self._swept_at
        self._swept_at = now
        if amnesty_s:
            # Never into the future: an instance that renewed within the gap (the process was only slow)
            # gets the full term from now, and the order is kept.
            self._renewed_at = {key: min(at + amnesty_s, now) for key, at in self._renewed_at.items()}
            self.guard = self.guard.extended(amnesty_s, now)
        due, census = self._counted(now)
        self.guard = self.guard.judged(census, self.terms.guard, now)
        expired = self._going(due, since, now)
        spared = self.guard.phase is GuardPhase.CLEAR and len(expired) < len(due)
        for key in expired:
            self.release(key)
        suspected: list[InstanceKey] = []
        if self.guard.phase is not GuardPhase.CLEAR:
            kept = (key for key in due if key in self._renewed_at and key not in self._suspects)
            suspected = list(islice(kept, self.terms.most_per_sweep))
            self._suspects.update(suspected)
        return SweepPlan(tuple(expired), tuple(suspected), amnesty_s, spared)

    def _counted(self, now: float) -> tuple[list[InstanceKey], Census]:
        """Return the due instances, oldest first, and the census."""
        while self._expiries and now - self._expiries[0][0] >= self.terms.ttl_s:
            self._expiries.popleft()
        due: list[InstanceKey] = []
        overdue = 0
        for key, renewed_at in self._renewed_at.items():
            if now - renewed_at >= self.terms.removed_after_s or key in self._suspects:
                due.append(key)
            elif now - renewed_at <= self.terms.ttl_s:
                break
            overdue += 1
        return due, Census(len(self), overdue, len(due), sum(count for _, count in self._expiries))

    def _sizes(self, _labels: Collection[str] = ()) -> Counter[str]:
        return Counter(key.label for key in self._renewed_at)

    def _going(self, due: list[InstanceKey], since: float, now: float) -> list[InstanceKey]:
        """Return which of `due` expire now."""
        terms, instances = self.terms.guard, len(self)
        match self.guard.phase:
            case GuardPhase.CLEAR:
                gone = guard.sparing(due[: self.terms.most_per_sweep], self._sizes)
                if gone:
                    self._expiries.append((now, len(gone)))
                return gone
            case GuardPhase.HOLDING:
                return []
            case GuardPhase.RELEASING:
                allowance = min(self.guard.allowance(terms, instances, since, now), self.terms.most_per_sweep)
                gone = guard.drawn(due, allowance, self._sizes(), self._random)
                self.guard = self.guard.spent(len(gone), terms, instances, since)
                return gone
