"""Questions to resolvers in flight, and the clients that wait for them: bounded, and fair when there are too many.

A name whose servers are silent takes seconds to fail. When such names fill the bound, a new question takes the place of
an older one: of the suffix and the asker that have the most in flight (unbound calls this jostling). It decides, and
carries nothing out: the caller ends what has to go.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

import msgspec

from dns.codec import Name

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

# Names that share so many labels at their end mostly have one owner.
_OWNED: Final = 2


class FlightLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of questions in flight. `_s` means seconds."""

    # Distinct questions, each with a few sockets; dnsmasq's limit is the same.
    in_flight: int = 150
    # Clients waiting, over all questions, and for one (BIND's max-clients-per-query is the same).
    waiting: int = 2000
    waiting_for_one: int = 100
    # A question that is older may be given up for a new one: most answers take less, and those of silent servers more.
    jostle_s: float = 0.2


class WaitingClient(Generic[T]):
    """One waiting client."""

    __slots__ = ("answer", "timer")

    def __init__(self, answer: asyncio.Future[T]) -> None:
        self.answer = answer
        self.timer: asyncio.TimerHandle | None = None


class Flight(Generic[T]):
    """One question in flight, and the clients waiting for it, the longest first."""

    __slots__ = ("asker", "key", "since", "suffix", "task", "waiting")

    def __init__(self, key: bytes, suffix: Name, asker: Hashable, since: float) -> None:
        self.key = key
        self.suffix = suffix
        self.asker = asker
        self.since = since
        self.waiting: list[WaitingClient[T]] = []
        self.task: asyncio.Task[None] | None = None

    @property
    def crowd(self) -> Hashable:
        """The owner of a fair turn: another machine, or here, where sockets cost nothing, the owner of the names."""
        return self.suffix if isinstance(self.asker, tuple) else self.asker


def suffix_of(name: Name, rule: Name) -> Name:
    """Return what names are counted by: the suffix of their rule, or else their last labels."""
    return rule or name[-_OWNED:]


class Flights(Generic[T]):
    """The questions in flight, the oldest first."""

    def __init__(self, limits: FlightLimits) -> None:
        self._limits = limits
        self._flights: dict[bytes, Flight[T]] = {}
        self._suffixes: Counter[Name] = Counter()
        self._askers: Counter[Hashable] = Counter()
        self.waiting = 0

    def __len__(self) -> int:
        return len(self._flights)

    def __iter__(self) -> Iterator[Flight[T]]:
        return iter(tuple(self._flights.values()))

    def get(self, key: bytes) -> Flight[T] | None:
        """Return the flight with that question."""
        return self._flights.get(key)

    @property
    def is_full(self) -> bool:
        """Whether another question has to take the place of one in flight."""
        return len(self._flights) >= self._limits.in_flight

    def in_the_way(self, suffix: Name, asker: Hashable, now: float) -> Flight[T] | None:
        """Return the flight that is to give way to a question with that suffix from that asker, or None.

        It is the oldest of those that crowd most, if it crowds more than the new one would, or is old enough.
        """
        heaviest = max(self._flights.values(), key=self._crowding, default=None)
        if heaviest is None:
            return None
        newcomer = (self._suffixes[suffix] + 1) * (self._askers[asker] + 1)
        if self._crowding(heaviest) > newcomer or now - heaviest.since >= self._limits.jostle_s:
            return heaviest
        return None

    def begin(self, flight: Flight[T]) -> None:
        """Add a flight."""
        self._flights[flight.key] = flight
        self._suffixes[flight.suffix] += 1
        self._askers[flight.asker] += 1

    def end(self, flight: Flight[T]) -> None:
        """Remove a flight, if it is still there."""
        if self._flights.get(flight.key) is not flight:
            return
        del self._flights[flight.key]
        self.waiting -= len(flight.waiting)
        _count_down(self._suffixes, flight.suffix)
        _count_down(self._askers, flight.asker)

    def wait(self, flight: Flight[T], client: WaitingClient[T]) -> list[WaitingClient[T]]:
        """Add a client to a flight; return those that waited longest, and give way for lack of room."""
        flight.waiting.append(client)
        self.waiting += 1
        displaced: list[WaitingClient[T]] = []
        if len(flight.waiting) > self._limits.waiting_for_one:
            displaced.append(flight.waiting.pop(0))
        elif self.waiting > self._limits.waiting:
            displaced.append(max(self._flights.values(), key=lambda one: len(one.waiting)).waiting.pop(0))
        self.waiting -= len(displaced)
        return displaced

    def _crowding(self, flight: Flight[T]) -> int:
        return self._suffixes[flight.suffix] * self._askers[flight.asker]


def _count_down(counts: Counter[K], counted: K) -> None:
    counts[counted] -= 1
    if not counts[counted]:
        del counts[counted]
