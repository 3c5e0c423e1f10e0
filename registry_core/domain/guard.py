"""The mass-expiry guard: when too many leases of a shard run out at once, it is us who are deaf.

It decides when to hold, when to let go, how many may go and which, and nothing else: the leases are
kept elsewhere, `now` is an argument in seconds of the clock of the leases, and chance is an argument,
too. What it has to remember is one `Guard`, which a store keeps beside its leases.

    CLEAR      what is due goes
    HOLDING    nobody goes; what is due is suspect, and served
    RELEASING  what is due goes in random order, a budget per minute; the rest is suspect, and served

It is clear again when nothing is due: everybody was heard of again, was deregistered, or has gone.
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
    """What the guard does, the calmest first."""

    CLEAR = "clear"
    RELEASING = "releasing"
    HOLDING = "holding"


class GuardTerms(msgspec.Struct, frozen=True):
    """From when on the guard holds, how long, and how fast it lets go."""

    # More than this part of a shard, and more than so many: somebody has cut us off from them.
    share: float = 0.30
    at_least: int = 3
    hold_s: float = 300.0
    budget_share: float = 0.10  # of the shard, per minute
    budget_at_least: int = 3

    def limit(self, instances: int) -> float:
        """Return how many of so many instances may be missing before the guard holds."""
        return max(float(self.at_least), self.share * instances)

    def budget(self, instances: int) -> float:
        """Return how many of so many instances may go in a minute while it lets go."""
        return max(float(self.budget_at_least), self.budget_share * instances)


class Census(msgspec.Struct, frozen=True):
    """The shard as one sweep finds it.

    Heartbeats are spread over half a lease, and so are the ends of leases after a mass death: no single
    sweep ever finds many of them due. Hence the overdue are counted, and those who went lately.
    """

    instances: int
    overdue: int  # past their TTL, the due ones among them
    due: int  # past their TTL and grace, or suspect already
    lately_expired: int  # within the last TTL, while the guard was clear; deregistrations do not count

    def alarming(self, terms: GuardTerms) -> bool:
        """Return whether so many are missing that it is more likely that we are deaf."""
        return self.overdue + self.lately_expired > terms.limit(self.instances + self.lately_expired)


class Guard(msgspec.Struct, frozen=True):
    """What the guard remembers from sweep to sweep. All times are of the clock of the leases."""

    held_since: float | None = None
    released_at: float | None = None
    next_at: float = 0.0  # while it lets go: before this, nobody goes

    @property
    def phase(self) -> GuardPhase:
        if self.held_since is None:
            return GuardPhase.CLEAR
        return GuardPhase.HOLDING if self.released_at is None else GuardPhase.RELEASING

    def extended(self, gap_s: float, now: float) -> Guard:
        """Return it after a time in which nobody swept: that does not count as time that was waited."""
        if self.held_since is None or gap_s <= 0.0:
            return self
        return msgspec.structs.replace(self, held_since=min(self.held_since + gap_s, now))

    def released(self, now: float) -> Guard:
        """Return it when it lets go, at last or at an operator's word. Unchanged when it does not hold."""
        return Guard(self.held_since, now, next_at=now) if self.phase is GuardPhase.HOLDING else self

    def judged(self, census: Census, terms: GuardTerms, now: float) -> Guard:
        """Return it after it has seen `census`."""
        if not census.due:
            return CLEAR
        guard = self
        if guard.phase is GuardPhase.CLEAR and census.alarming(terms):
            guard = Guard(held_since=now)
        if guard.held_since is not None and now - guard.held_since >= terms.hold_s:
            guard = guard.released(now)
        return guard

    def allowance(self, terms: GuardTerms, instances: int, since: float, now: float) -> int:
        """Return how many may go now, while it lets go. The budget is spread evenly over its minute.

        It is not saved up: only the time from `since` on, the last sweep, counts.
        """
        begin = max(self.next_at, since)
        return int((now - begin) / self._interval_s(terms, instances)) + 1 if begin <= now else 0

    def spent(self, gone: int, terms: GuardTerms, instances: int, since: float) -> Guard:
        """Return it after so many went, of so many instances."""
        begin = max(self.next_at, since)
        return msgspec.structs.replace(self, next_at=begin + gone * self._interval_s(terms, instances))

    def _interval_s(self, terms: GuardTerms, instances: int) -> float:
        return MINUTE_S / terms.budget(instances)


CLEAR: Final = Guard()


def sparing(due: Sequence[InstanceKey], sizes_of: Callable[[Collection[str]], Mapping[str, int]]) -> list[InstanceKey]:
    """Return `due`, but for the last instance of each service of several that would lose all of them at once.

    It waits for the next sweep, so that no service is emptied by one sweep alone. `sizes_of` gives how many
    instances some services have; it is asked only when more than one of a service is due.
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

    No service of several instances loses all of them in one draw: its last one waits for the next.
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
