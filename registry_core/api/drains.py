"""Tracks which acknowledging watchers of this replica know that an instance drains.

A replica knows only its own watchers; `peers.py` asks the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from registry_core.api.drain_schemas import DrainView, ReplicaDrain
from registry_core.api.hub import WatchHub
from registry_core.api.view import ReplicaState, ReplicaView, refuse_unknown
from registry_core.domain.events import Event, Registered, Renewed, StatusChanged
from registry_core.domain.names import check_instance_id, check_known_name, label_of
from registry_core.domain.records import InstanceKey, Status
from registry_core.errors import NotFound, Warming
from registry_core.watch.cursor import Cursor, cursor_of


class Drains:
    """Remembers, for every draining instance, the cursor at which its drain was announced."""

    def __init__(self, view: ReplicaView, hub: WatchHub, replica: str = "", *, unknown: Callable[[str], str]) -> None:
        """`replica` is this replica's id; `unknown` says why a service that is missing from the view may exist."""
        self._replica = replica
        self._unknown = unknown
        self._view = view
        self._hub = hub
        self._said_at: dict[InstanceKey, Cursor] = {}
        view.subscribe(self)

    def progress(self, service_name: str, instance_id: str) -> DrainView:
        """Return the progress of a drain.

        Raises ValidationError, NotFound, and Warming or StoreUnavailable while it is unknown.
        """
        key = InstanceKey(label_of(check_known_name(service_name)), check_instance_id(instance_id))
        instance = self._view.catalog.get(key)
        if instance is None:
            if self._view.state is ReplicaState.WARMING:
                raise Warming("this registry started empty and does not know yet which instances are alive")
            refuse_unknown(service_name, self._unknown)
            raise NotFound(f"{service_name!r} has no instance {instance_id!r}", field="instance_id")
        said_at = self._said_at.get(key)
        watchers, acknowledged = self._hub.acknowledgements(key.label, said_at if said_at is not None else Cursor())
        acknowledged = 0 if said_at is None else acknowledged
        return DrainView(
            service_name=instance.service_name,
            instance_id=instance.instance_id,
            status=instance.status,
            revision="" if said_at is None else str(said_at),
            watchers=watchers,
            acknowledged=acknowledged,
            by_replica={self._replica: ReplicaDrain(watchers=watchers, acknowledged=acknowledged)},
        )

    def announced(self) -> Iterator[tuple[str, Cursor]]:
        """Yield the label of each instance that drains, and the cursor at which that was announced."""
        return ((key.label, said_at) for key, said_at in self._said_at.items())

    # -- what the view says

    def on_event(self, event: Event, _service_name: str) -> None:
        """Note an instance that begins to drain, and forget one that no longer does."""
        match event:
            case Registered(instance=instance) if instance.status is Status.DRAINING:
                self._said_at[event.key] = cursor_of([event.position])
            case StatusChanged(key=key, status=Status.DRAINING) if self._view.catalog.get(key) is not None:
                self._said_at[event.key] = cursor_of([event.position])
            case Renewed():
                pass
            case _:
                self._said_at.pop(event.key, None)

    def on_moved(self, _differences: Sequence[Event]) -> None:
        """Begin a new history: every watcher must acknowledge again."""
        self.on_reset()

    def on_reset(self) -> None:
        """Begin a new history: a snapshot announces the draining instances again."""
        view = self._view
        self._said_at = {i.key: view.cursor for i in view.catalog if i.status is Status.DRAINING}
