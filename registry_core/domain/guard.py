"""The mass-expiry guard: when too many leases of a shard run out at once, the fault is likely on our side.

It only decides when to hold, when to release, and how many instances may expire and which. The leases
are kept elsewhere; `now` (seconds of the leases' clock) and the random source are arguments. Its state
is one `Guard`, which a store keeps with its leases.

    CLEAR      due instances expire
    HOLDING    none expires; due instances are suspect, and served
    RELEASING  due instances expire in random order, by a budget per minute; the rest are suspect, and served

It is clear again when no instance is due: each sent a heartbeat, was deregistered, or expired.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec

from registry_core.domain.records import InstanceKey
from registry_core.domain.selection import Random

MINUTE_S: Final = 60.0


class GuardPhase(enum.StrEnum):
    """What the guard does, from calm to alarmed."""

    CLEAR = "clear"
    RELEASING = "releasing"
    HOLDING = "holding"


class GuardTerms(msgspec.Struct, frozen=True):
    """When the guard holds, for how long, and how fast it releases."""

    # More than this share of a shard, and more than this many: we are probably cut off from them.
    share: float = 0.30
    at_least: int = 3
    hold_s: float = 300.0
    budget_share: float = 0.10  # of the shard, per minute
    budget_at_least: int = 3

    def limit(self, instances: int) -> float:
        """Return how many of `instances` may be missing before the guard holds."""
        return max(float(self.at_least), self.share * instances)

    def budget(self, instances: int) -> float:
        """Return how many of `instances` may expire per minute while the guard releases."""
        return max(float(self.budget_at_least), self.budget_share * instances)


class Census(msgspec.Struct, frozen=True):
    """The counts that one sweep takes of a shard.

    Heartbeats are spread over half a lease, and so are the expiries after a mass death: no single sweep
    finds many instances due. So the census also counts overdue instances and recent expiries.
    """

    instances: int
    overdue: int  # past their TTL, including the due ones
    due: int  # past their TTL and grace, or suspect already
    lately_expired: int  # within the last TTL, while the guard was clear; deregistrations do not count

    def alarming(self, terms: GuardTerms) -> bool:
        """Return whether so many are missing that the fault is more likely on our side."""
        return self.overdue + self.lately_expired > terms.limit(self.instances + self.lately_expired)


class Guard(msgspec.Struct, frozen=True):
    """What the guard remembers between sweeps. All times are in seconds of the leases' clock."""

    held_since: float | None = None
    released_at: float | None = None
    next_at: float = 0.0  # while releasing: nothing expires before this

    @property
    def phase(self) -> GuardPhase:
        if self.held_since is None:
            return GuardPhase.CLEAR
        return GuardPhase.HOLDING if self.released_at is None else GuardPhase.RELEASING

    def extended(self, gap_s: float, now: float) -> Guard:
        """Return the guard after `gap_s` without sweeps, which does not count towards the hold."""
        if self.held_since is None or gap_s <= 0.0:
            return self
        return msgspec.structs.replace(self, held_since=min(self.held_since + gap_s, now))

    def released(self, now: float) -> Guard:
        """Return the guard released, after its hold or by an operator. Unchanged when it does not hold."""
        return Guard(self.held_since, now, next_at=now) if self.phase is GuardPhase.HOLDING else self

    def judged(self, census: Census, terms: GuardTerms, now: float) -> Guard:
        """Return the guard after it has seen `census`."""
        if not census.due:
            return CLEAR
        guard = self
        if guard.phase is GuardPhase.CLEAR and census.alarming(terms):
            guard = Guard(held_since=now)
        if guard.held_since is not None and now - guard.held_since >= terms.hold_s:
            guard = guard.released(now)
        return guard

    def allowance(self, terms: GuardTerms, instances: int, since: float, now: float) -> int:
        """Return how many may expire now, while releasing. The budget is spread evenly over a minute.

        It does not accumulate: only the time since the last sweep, at `since`, counts.
        """
        begin = max(self.next_at, since)
        return int((now - begin) / self._interval_s(terms, instances)) + 1 if begin <= now else 0

    def spent(self, gone: int, terms: GuardTerms, instances: int, since: float) -> Guard:
        """Return the guard after `gone` of `instances` expired."""
        begin = max(self.next_at, since)
        return msgspec.structs.replace(self, next_at=begin + gone * self._interval_s(terms, instances))

    def _interval_s(self, terms: GuardTerms, instances: int) -> float:
        return MINUTE_S / terms.budget(instances)


CLEAR: Final = Guard()


def sparing(due: Sequence[InstanceKey], sizes_of: Callable[[Collection[str]], Mapping[str, int]]) -> list[InstanceKey]:
    """Return `due` without the last instance of each service that has several and would lose all at once.

    That one waits for the next sweep, so that a single sweep never empties a service. `sizes_of` returns the
    instance counts of services; it is called only when more than one instance of a service is due.
    """
    counts = Counter(key.label for key in due)
    several = {label for label, count in counts.items() if count > 1}
    if not several:
        return list(due)
    sizes = sizes_of(several)
    last = {key.label: key for key in due if key.label in several and counts[key.label] >= sizes.get(key.label, 0)}
    return [key for key in due if last.get(key.label) != key]


def drawn(
    due: Sequence[InstanceKey], allowance: int, service_sizes: Mapping[str, int], random: Random
) -> list[InstanceKey]:
    """Return at most `allowance` of `due`, in random order.

    A service with several instances never loses all in one draw: its last one waits for the next.
    """
    left = list(due)
    taken: list[InstanceKey] = []
    taken_of: Counter[str] = Counter()
    while left and len(taken) < allowance:
        at = int(random.random() * len(left))
        left[at], left[-1] = left[-1], left[at]
        key = left.pop()
        if 0 < taken_of[key.label] == service_sizes[key.label] - 1:
            continue
        taken_of[key.label] += 1
        taken.append(key)
    return taken
