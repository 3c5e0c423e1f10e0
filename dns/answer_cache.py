"""Ready answers: from a query's bytes, without its id, to an answer's bytes, without its id.

It knows neither what the bytes mean nor how they are made. What depends on a service is dropped when
the service changes, and nothing else is. Bounded in entries and in bytes; names that do not exist are
kept apart, so that a flood of random ones cannot drive out the answers that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

# What an entry costs besides its bytes: the objects, and its places in the dictionaries.
_OVERHEAD_BYTES: Final = 400


class CacheLimits(msgspec.Struct, frozen=True):
    """The bounds of each of the two parts: what exists, and what does not."""

    entries: int = 20_000
    bytes: int = 8 * 1024 * 1024


class Entry:
    """The answers to one query: several orders of the same records, given out in turn."""

    __slots__ = ("counter", "label", "orders", "rounds", "turn", "variants", "weight")

    def __init__(self, label: str, orders: int, counter: list[int]) -> None:
        self.label = label
        self.orders = orders  # how many variants are wanted in the end
        self.counter = counter  # one cell, shared by all entries that count as the same
        self.variants: list[bytes] = []
        self.turn = 0
        self.rounds = 0  # how often all variants have been given out
        self.weight = _OVERHEAD_BYTES


class AnswerCache:
    """One bounded part of the ready answers. The oldest entry goes first."""

    def __init__(self, limits: CacheLimits) -> None:
        self._limits = limits
        self.ready: dict[bytes, Entry] = {}
        self._by_label: dict[str, set[bytes]] = {}
        self.bytes = 0
        self.evictions = 0

    def __len__(self) -> int:
        return len(self.ready)

    def put(self, key: bytes, entry: Entry, variant: bytes) -> None:
        """Add `variant` to the entry of `key`, and the entry itself when it is new."""
        if key not in self.ready:
            self.ready[key] = entry
            self._by_label.setdefault(entry.label, set()).add(key)
            entry.weight += 2 * len(key)
            self.bytes += entry.weight
        entry.variants.append(variant)
        entry.weight += len(variant)
        self.bytes += len(variant)
        while len(self.ready) > self._limits.entries or self.bytes > self._limits.bytes:
            self._drop(next(iter(self.ready)))
            self.evictions += 1

    def drop(self, labels: Iterable[str]) -> None:
        """Drop what depends on any of these services."""
        for label in labels:
            for key in tuple(self._by_label.get(label, ())):
                self._drop(key)

    def discard(self, key: bytes) -> None:
        """Drop the entry of `key`, if there is one."""
        if key in self.ready:
            self._drop(key)

    def clear(self) -> None:
        """Drop everything."""
        self.ready.clear()
        self._by_label.clear()
        self.bytes = 0

    def _drop(self, key: bytes) -> None:
        entry = self.ready.pop(key)
        self.bytes -= entry.weight
        keys = self._by_label[entry.label]
        keys.discard(key)
        if not keys:
            del self._by_label[entry.label]
