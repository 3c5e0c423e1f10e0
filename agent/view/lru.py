"""Tracks which services are in the view, their sizes, and the order of eviction. Pure; it holds no records.

Services that were never looked up are evicted first, then the least recently looked up. The agent's own
services are never evicted, nor is the latest one looked up: it is answered whatever its size.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
from cachetools import Cache, LRUCache

from registry_core.domain.footprint import NAME_BYTES

MEGABYTE: Final = 1024 * 1024


class ViewLimits(msgspec.Struct, frozen=True):
    """The most services that the view holds, and the most bytes that they and all names may take."""

    services: int = 1000
    bytes: int = 50 * MEGABYTE


class ServiceLru:
    """The entries of one view. Sizes are bytes."""

    def __init__(self, limits: ViewLimits, own: frozenset[str] = frozenset()) -> None:
        """`own` are the labels of services that are never evicted."""
        self.limits = limits
        self.names = 0  # of services that are not held: they take memory too
        self._own = own
        self._own_sizes: dict[str, int] = {}
        self._spare: dict[str, int] = {}  # never looked up; the newest is last, and is evicted first
        # Its limit is enforced through `give_up`, since names and other entries count too.
        self._asked: LRUCache[str, int] = LRUCache(math.inf, getsizeof=int)
        self._bytes = 0

    def __len__(self) -> int:
        """The number of services held."""
        return len(self._own_sizes) + len(self._spare) + len(self._asked)

    @property
    def bytes(self) -> int:
        """The size of all entries and all names."""
        return self._bytes + self.names * NAME_BYTES

    @property
    def own(self) -> frozenset[str]:
        return self._own

    def use_own(self, own: frozenset[str]) -> None:
        """Replace the set of services that are never evicted."""
        sizes = {label: self.size_of(label) for label in self.labels() if (label in own) != (label in self._own)}
        for label in sizes:
            self.leave(label)
        self._own = own
        for label, size in sizes.items():
            self.put(label, size)

    def wants(self, label: str) -> bool:
        """Return whether `label` is held because it was looked up."""
        return label in self._asked

    def labels(self) -> list[str]:
        """Return the labels of all held services."""
        return [*self._own_sizes, *self._spare, *self._asked]

    def size_of(self, label: str) -> int:
        """Return the size of an entry; 0 if there is none."""
        for sizes in (self._own_sizes, self._spare):
            if label in sizes:
                return sizes[label]
        return int(Cache.__getitem__(self._asked, label)) if label in self._asked else 0

    def fits(self, size: int) -> bool:
        """Return whether one more service of that size fits without an eviction."""
        return len(self) < self.limits.services and self.bytes + size <= self.limits.bytes

    def put(self, label: str, size: int) -> None:
        """Add or resize the entry of `label`. This does not count as a lookup."""
        self._bytes += size - self.size_of(label)
        if label in self._own:
            self._own_sizes[label] = size
        elif label in self._asked:
            Cache.__setitem__(self._asked, label, size)  # only lookups change the order
        else:
            self._spare[label] = size

    def asked(self, label: str) -> None:
        """Record a lookup of `label`, which is held."""
        if label in self._asked:
            self._asked[label]  # reading the entry makes it the most recent
        elif label in self._spare:
            self._asked[label] = self._spare.pop(label)

    def leave(self, label: str) -> None:
        """Remove the entry of `label`, if there is one."""
        self._bytes -= self.size_of(label)
        self._own_sizes.pop(label, None)
        self._spare.pop(label, None)
        self._asked.pop(label, None)

    def give_up(self) -> str | None:
        """Evict the next service and return its label; None if the limits are met."""
        if len(self) <= self.limits.services and self.bytes <= self.limits.bytes:
            return None
        if self._spare:
            label, size = self._spare.popitem()
        elif len(self._asked) > 1:
            label, size = self._asked.popitem()
        else:
            return None
        self._bytes -= size
        return label
