"""Tracks the draining instances of a view, and which of them have left even the SRV answers. Pure.

An answer with weight 0 comes first: HAProxy then lets a server finish and sends it no new clients. Other clients
read a weight of 0 as a small one (nginx: as 1), so the record leaves a moment later.
"""

from __future__ import annotations

from collections.abc import Iterable

from registry_core.domain.catalog import Catalog
from registry_core.domain.records import InstanceKey, Status


class DrainingInstances:
    """The draining instances: those that SRV answers still name, and those that have left. Bounded by the catalogue."""

    def __init__(self, shown_s: float) -> None:
        """`shown_s` is how long SRV answers name an instance that drains, in seconds."""
        self.shown_s = shown_s
        self._since: dict[InstanceKey, float] = {}  # still named; the earliest first
        self._left: set[InstanceKey] = set()

    def note(self, key: InstanceKey, status: Status | None, now: float) -> None:
        """Record the status of one instance; None for one that is gone."""
        if status is not Status.DRAINING:
            self._since.pop(key, None)
            self._left.discard(key)
        elif key not in self._left:
            self._since.setdefault(key, now)

    def settle(self, labels: Iterable[str], catalog: Catalog, now: float, *, held: bool = True) -> None:
        """Record the statuses of all instances of these services.

        Of services that were not `held` before, those that drain have left: that may have been acknowledged already,
        and no client of this agent has a server to finish with.
        """
        self.prune(catalog)
        for label in labels:
            service = catalog.find(label)
            for instance in service.instances if service is not None else ():
                if instance.status is not Status.DRAINING:
                    continue
                if held or instance.key in self._since:
                    self.note(instance.key, instance.status, now)
                else:
                    self._left.add(instance.key)

    def prune(self, catalog: Catalog) -> None:
        """Forget the instances that no longer drain in `catalog`."""
        for key in (*self._since, *self._left):
            instance = catalog.get(key)
            if instance is None or instance.status is not Status.DRAINING:
                self.note(key, None, 0.0)

    def leave(self, now: float) -> set[str]:
        """Have the instances leave whose time is up; return the labels of their services."""
        labels: set[str] = set()
        while self._since:
            key, since = next(iter(self._since.items()))
            if since + self.shown_s > now:
                break
            del self._since[key]
            self._left.add(key)
            labels.add(key.label)
        return labels

    def has_left(self, key: InstanceKey) -> bool:
        """Return whether the instance has drained for long enough to leave SRV answers, too."""
        return key in self._left
