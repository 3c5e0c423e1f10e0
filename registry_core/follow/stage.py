"""Collects the parts of a snapshot for a follower, and what differs from what it has already. Pure.

A follower that reads everything again has mostly the same already, and so have its readers: they get the differences.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.events import Deregistered, Event, Position, Registered
from registry_core.watch.stage import Rest

# With more differences than these, readers get a snapshot: it is sent in parts, where differences are one line.
MOST_DIFFERENCES: Final = 1000


class FollowerStage:
    """A catalogue of its own, so that no part holds lookups up for long, beside `current`, which does not change."""

    def __init__(self, current: Catalog) -> None:
        self.catalog = Catalog()
        self._current = current
        self._differing: list[Lived] = []
        self._common = 0  # instances that are in both

    def add(self, instances: Iterable[Lived]) -> None:
        """Add one part."""
        part = tuple(instances)
        for lived in part:
            before = self._current.get(lived.instance.key)
            self._common += before is not None
            if before != lived.instance and len(self._differing) <= MOST_DIFFERENCES:
                self._differing.append(lived)
        self.catalog.merge(part)

    def taken(self) -> tuple[tuple[Lived, ...], Rest]:
        """Return nothing: the catalogue is taken as a whole."""
        return (), Rest()

    def differences(self, position: Position) -> list[Event] | None:
        """Return what makes `current` equal to the snapshot, at `position`; None when that is too much."""
        gone = len(self._current) - self._common
        if len(self._differing) + gone > MOST_DIFFERENCES:
            return None
        found: list[Event] = [Registered(position, one.instance, one.heartbeat_at) for one in self._differing]
        if gone:
            keys = (instance.key for instance in self._current)
            found += [Deregistered(position, key) for key in keys if self.catalog.get(key) is None]
        return found
