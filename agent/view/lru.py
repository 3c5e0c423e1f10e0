"""Who has a place in the view, how large it is, and who gives it up first. Pure; it holds no records.

Services that were never asked for go before those that were, and of these the one that was asked for
longest ago goes first. The agent's own services never go, nor does the one that was asked for last:
it is answered whatever its size.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
from cachetools import Cache, LRUCache

from agent.view.footprint import NAME_BYTES

MEGABYTE: Final = 1024 * 1024


class ViewLimits(msgspec.Struct, frozen=True):
    """How many services the view holds, and how many bytes they and all names may take."""

    services: int = 1000
    bytes: int = 50 * MEGABYTE


class ServiceLru:
    """The places of one view. Sizes are bytes."""

    def __init__(self, limits: ViewLimits, own: frozenset[str] = frozenset()) -> None:
        """`own` are the labels of services that never give up their places."""
        self.limits = limits
        self.names = 0  # of services that have no place: they take room too
        self._own = own
        self._own_sizes: dict[str, int] = {}
        self._spare: dict[str, int] = {}  # never asked for; the newest stands last, and goes first
        # Its bound is kept by whoever asks for victims, since names and other places count as well.
        self._asked: LRUCache[str, int] = LRUCache(math.inf, getsizeof=int)
        self._bytes = 0

    def __len__(self) -> int:
        """The number of services that have a place."""
        return len(self._own_sizes) + len(self._spare) + len(self._asked)

    @property
    def bytes(self) -> int:
        """What all places take, and all names."""
        return self._bytes + self.names * NAME_BYTES

    @property
    def own(self) -> frozenset[str]:
        return self._own

    def use_own(self, own: frozenset[str]) -> None:
        """Let these never give up their places, from now on, and those of before as anybody else."""
        sizes = {label: self.size_of(label) for label in self.labels() if (label in own) != (label in self._own)}
        for label in sizes:
            self.leave(label)
        self._own = own
        for label, size in sizes.items():
            self.put(label, size)

    def wants(self, label: str) -> bool:
        """Return whether `label` has a place because somebody asked for it."""
        return label in self._asked

    def labels(self) -> list[str]:
        """Return the labels of all who have a place."""
        return [*self._own_sizes, *self._spare, *self._asked]

    def size_of(self, label: str) -> int:
        """Return the size of a place; 0 when there is none."""
        for sizes in (self._own_sizes, self._spare):
            if label in sizes:
                return sizes[label]
        return int(Cache.__getitem__(self._asked, label)) if label in self._asked else 0

    def fits(self, size: int) -> bool:
        """Return whether one more service of that size has a place without another giving up its own."""
        return len(self) < self.limits.services and self.bytes + size <= self.limits.bytes

    def put(self, label: str, size: int) -> None:
        """Give `label` a place of `size`, or its place another size. That is not asking for it."""
        self._bytes += size - self.size_of(label)
        if label in self._own:
            self._own_sizes[label] = size
        elif label in self._asked:
            Cache.__setitem__(self._asked, label, size)  # the order is by what is asked for alone
        else:
            self._spare[label] = size

    def asked(self, label: str) -> None:
        """Take note that somebody asked for `label`, which has a place."""
        if label in self._asked:
            self._asked[label]  # looking it up is what makes it the latest
        elif label in self._spare:
            self._asked[label] = self._spare.pop(label)

    def leave(self, label: str) -> None:
        """Take the place of `label` away. It may have none."""
        self._bytes -= self.size_of(label)
        self._own_sizes.pop(label, None)
        self._spare.pop(label, None)
        self._asked.pop(label, None)

    def give_up(self) -> str | None:
        """Take the place of whoever has to go now, and return who that is; None when there is room for all."""
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
