"""A bounded queue of dear work, fair between those who ask for it, and between cheap and dear. Pure.

Self-clocked fair queueing (Golestani 1994): each asker has an equal share of the work, however much it asks for, and
within a share the cheaper work of a newcomer comes first. When the queue is full, what would come last goes: the work
of the asker that has asked for most.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Work that waits, in the order in which it is to be done."""

    def __init__(self, most: int, most_cost: int) -> None:
        """Keeps `most` pieces of work at most, and no more than one whose costs together are above `most_cost`."""
        self._most = most
        self._most_cost = most_cost
        # (finish tag, number, asker, cost, work): a number is used once, so that work is never compared.
        self._waiting: list[tuple[int, int, Hashable, int, T]] = []
        self._finish: dict[Hashable, int] = {}  # of the last work of each asker that waits
        self._now = 0  # virtual time: the tag of the work that was taken last
        self._number = 0
        self.cost = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, asker: Hashable, cost: int, work: T) -> list[T]:
        """Add `work`, and return what has to go for lack of room; that may be `work` itself."""
        finish = max(self._now, self._finish.get(asker, 0)) + cost
        self._number += 1
        self._finish[asker] = finish
        insort(self._waiting, (finish, self._number, asker, cost, work))
        self.cost += cost
        displaced: list[T] = []
        while len(self._waiting) > self._most or (self.cost > self._most_cost and len(self._waiting) > 1):
            finish, _, loser, lost, last = self._waiting.pop()
            self.cost -= lost
            self._finish[loser] = finish - lost
            self._forget(loser, finish - lost)
            displaced.append(last)
        return displaced

    def has_room(self, asker: Hashable, cost: int) -> bool:
        """Return whether work would stay when it is put in, at least for now."""
        if len(self._waiting) < self._most and self.cost + cost <= self._most_cost:
            return True
        return max(self._now, self._finish.get(asker, 0)) + cost < self._waiting[-1][0] if self._waiting else True

    def take(self) -> T | None:
        """Return the work to do next; None when none waits."""
        if not self._waiting:
            return None
        finish, _, asker, cost, work = self._waiting.pop(0)
        self._now = finish
        self.cost -= cost
        self._forget(asker, finish)
        if not self._waiting:
            self._now = 0
            self._finish.clear()
        return work

    def _forget(self, asker: Hashable, finish: int) -> None:
        """Forget an asker that has nothing waiting any more."""
        if self._finish.get(asker) == finish and finish <= self._now:
            del self._finish[asker]
