"""Leases: granted by a registration, renewed by heartbeats, ended by the sweep alone.

This file knows neither a clock nor a store: `now` is an argument, in seconds of whatever clock the
store keeps. An instance goes at the end of its TTL and its grace, less one period of the sweep, so
that the promise "gone at most ttl + grace after the last heartbeat" holds whenever the sweep runs. When
too many run out at once, the guard (`guard.py`) keeps them for a while: that promise then waits.
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
    # No sweep for longer than this means that nobody was looking, not that nobody was alive.
    amnesty_after_s: float = 5.0
    # So many go, and so many turn suspect, in one sweep; the rest waits for the next. Each is an event that
    # every watcher is told of, about 25 µs, and nothing else is answered meanwhile.
    most_per_sweep: int = 500
    guard: GuardTerms = GuardTerms()

    @property
    def removed_after_s(self) -> float:
        """The age of a heartbeat at which the sweep removes the instance."""
        return self.ttl_s + self.grace_s - self.sweep_every_s


class SweepPlan(msgspec.Struct, frozen=True):
    """What one sweep found: who goes, who is newly suspect, and the time given to all, if any."""

    expired: tuple[InstanceKey, ...]
    suspected: tuple[InstanceKey, ...]
    amnesty_s: float
    spared: bool = False  # somebody waits for the next sweep alone, which should be soon


class Leases:
    """The leases of one shard, ordered by their last renewal: a sweep looks at the old end only.

    Times given to it must not fall; the store passes a monotonic clock.
    """

    def __init__(self, terms: LeaseTerms, now: float, random: Random) -> None:
        self.terms = terms
        self.guard = guard.CLEAR
        self._random = random
        self._renewed_at: dict[InstanceKey, float] = {}
        self._suspects: set[InstanceKey] = set()
        # When a sweep expired how many, for one TTL. Only while the guard is clear: whom it lets go later
        # was counted when it began to hold.
        self._expiries: deque[tuple[float, int]] = deque()
        self._swept_at = now

    def __len__(self) -> int:
        return len(self._renewed_at)

    def __contains__(self, key: InstanceKey) -> bool:
        return key in self._renewed_at

    @property
    def suspect_count(self) -> int:
        """The number of instances that are due, and kept by the guard."""
        return len(self._suspects)

    def grant(self, key: InstanceKey, now: float) -> None:
        """Start a lease for `key`, or start it anew. A suspect is none any more: it was heard of."""
        self._renewed_at.pop(key, None)  # to the young end of the order
        self._renewed_at[key] = now
        self._suspects.discard(key)

    def renew(self, key: InstanceKey, now: float) -> bool:
        """Extend the lease of `key`; False when there is none, and then nothing is changed."""
        if key not in self._renewed_at:
            return False
        self.grant(key, now)
        return True

    def release(self, key: InstanceKey) -> bool:
        """End the lease of `key` at once; False when there was none."""
        self._suspects.discard(key)
        return self._renewed_at.pop(key, None) is not None

    def remaining_s(self, key: InstanceKey, now: float) -> float:
        """Return the seconds left of the TTL; negative in the grace, and when there is no lease."""
        renewed_at = self._renewed_at.get(key)
        return -self.terms.grace_s if renewed_at is None else renewed_at + self.terms.ttl_s - now

    def overdue(self, key: InstanceKey, now: float) -> bool:
        """Return whether the TTL of `key` has passed: it is served still, but owns nothing."""
        return self.remaining_s(key, now) < 0.0

    def release_guard(self, now: float) -> bool:
        """Have the guard let go from now on; False when it does not hold, and then nothing is changed."""
        held, self.guard = self.guard, self.guard.released(now)
        return held != self.guard

    def sweep(self, now: float) -> SweepPlan:
        """End what has run out by `now` and what the guard lets go of, and return it.

        When no sweep ran for too long (the process was stopped, the machine slept), everybody is
        given the gap first: heartbeats could not have been taken meanwhile.
        """
        gap = now - self._swept_at
        amnesty_s = gap if gap > self.terms.amnesty_after_s else 0.0
        since = now if amnesty_s else self._swept_at
        self._swept_at = now
        if amnesty_s:
            # Never into the future: who renewed within the gap (the process was only slow) has the
            # full term from now, and the order is kept.
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
        """Return who is due, the oldest first, and the census."""
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
        """Return which of `due` go now."""
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
