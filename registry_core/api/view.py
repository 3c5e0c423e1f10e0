"""The replica's view of the store: a complete catalogue, and the age of each heartbeat.

It is a `Feed`: the store delivers into it, lookups read from it, and the watch hub listens to it. No
lookup bypasses it to reach the store.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from itertools import takewhile
from operator import itemgetter
from typing import Final, NamedTuple, Protocol

from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.events import Deregistered, Event, Expired, Registered, Renewed, StatusChanged
from registry_core.domain.names import label_of
from registry_core.domain.records import Instance, InstanceKey
from registry_core.errors import StoreUnavailable
from registry_core.ports.clock import Clock
from registry_core.ports.reports import ShardReport
from registry_core.ports.store import Snapshot
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import LATE_AFTER_TTLS
from registry_core.watch.lines import Heartbeat
from registry_core.watch.recent import LatestEvents


class StoreAge(NamedTuple):
    """The age in seconds of the data of the shards that were read (None: none was), and the shards that were not."""

    age_s: float | None
    unread: tuple[str, ...] = ()


def store_age(shards: Sequence[ShardReport]) -> StoreAge:
    """Return the age of a store with these shards; a store without shards is in this process."""
    ages = [shard.age_s for shard in shards if shard.age_s is not None]
    unread = tuple(shard.shard for shard in shards if shard.age_s is None)
    return StoreAge(max(ages) if ages else None if shards else 0.0, unread)


class ReplicaState(enum.StrEnum):
    """Whether a missing name is certain not to exist."""

    WARMING = "warming"
    READY = "ready"


# A member of an enumeration takes ten times as long to look up as a name here.
WARMING: Final = ReplicaState.WARMING
READY: Final = ReplicaState.READY


def refuse_unknown(name: str, unknown: Callable[[str], str]) -> None:
    """Raise StoreUnavailable when a service of this name may exist although the view does not have it.

    `unknown` returns the store's reason by label: a shard that is not followed, an entry that cannot be read.
    """
    reason = unknown(label_of(name))
    if reason:
        raise StoreUnavailable(f"it is unknown at present whether {name!r} exists: {reason}")


class ViewListener(Protocol):
    """Is called after each change of the view."""

    def on_event(self, event: Event, service_name: str) -> None:
        """`event` of `service_name` has been applied."""
        ...

    def on_moved(self, differences: Sequence[Event]) -> None:
        """The history is another one, and the view changed by `differences` only."""
        ...

    def on_reset(self) -> None:
        """The view was replaced as a whole: nothing from before holds."""
        ...


class ReplicaView:
    """The data of one replica. `store_age_s` returns the age of the store's last confirmation, `store` its shards."""

    def __init__(
        self,
        clock: Clock,
        *,
        ttl_s: float,
        warming_s: float,
        store_age_s: Callable[[], float],
        store: Callable[[], StoreAge] | None = None,
    ) -> None:
        self.catalog = Catalog()
        self.cursor = Cursor()
        self.recent: tuple[LatestEvents, ...] = ()  # what changed last before the last reset
        self.store_age_s = store_age_s
        self.store = store if store is not None else lambda: StoreAge(store_age_s())
        self._clock = clock
        self._ttl_s = ttl_s
        self._warming_s = warming_s
        self._warm_at = math.inf  # unknown: nothing, or not everything, was delivered
        # The last heartbeat of each instance, on this machine's monotonic clock: the rest of a lease must not
        # jump with the wall clock, nor with its difference to the store's. Instances without a heartbeat since
        # the last reset are not in it: for them, that reset's two clocks give the age. In order of time, so
        # that late ones come first.
        self._heard_at: dict[InstanceKey, float] = {}
        # Instances without a heartbeat since the last reset, and the time that the reset gives for each; the oldest
        # first. Those that were heard or removed meanwhile may still be in it. None: not sorted yet.
        self._not_heard: list[tuple[float, InstanceKey]] | None = None
        self._reset_at = self._reset_wall = 0.0
        self._listeners: list[ViewListener] = []
        self._hear_renewals: list[ViewListener] = []
        self.empty_since = -math.inf  # when the store was last found empty
        self.loaded = False  # whether the store has delivered any data

    def subscribe(self, listener: ViewListener, *, renewals: bool = False) -> None:
        """Call `listener` for every change from now on; for renewed leases only with `renewals`."""
        self._listeners.append(listener)
        if renewals:
            self._hear_renewals.append(listener)

    @property
    def state(self) -> ReplicaState:
        """Warming: live instances may be missing.

        The store started empty so recently that they may not have registered yet, or they were refused.
        """
        return WARMING if self._warm_at > self._clock.monotonic() else READY

    def warm_in_s(self) -> float:
        """Return the seconds until the state is `ready`; 0 when it is, infinite when that is unknown."""
        return max(0.0, self._warm_at - self._clock.monotonic())

    def stay_warming(self, for_s: float) -> None:
        """Be warming for at least `for_s` more seconds, because live instances were refused."""
        self._warm_at = max(self._warm_at, self._clock.monotonic() + for_s)

    @property
    def late_after_s(self) -> float:
        """The seconds after its last heartbeat from which a lease is late."""
        return LATE_AFTER_TTLS * self._ttl_s

    def heartbeat_at(self, lived: Lived) -> float:
        """Return the time of an instance's last heartbeat, in Unix seconds of the store's clock."""
        return lived.heartbeat_at

    def ttl_remaining_s(self, key: InstanceKey) -> float:
        """Return the seconds left of the TTL of `key`; negative when it is overdue."""
        heard_at = self._heard_at.get(key)
        if heard_at is None:
            if self.catalog.get(key) is None:
                return 0.0
            heard_at = self._heard_before_reset(key)
        return heard_at + self._ttl_s - self._clock.monotonic()

    def oldest_age_s(self) -> float | None:
        """Return the seconds since the heartbeat of the instance that has been silent the longest; None without any."""
        if not self.catalog:
            return None
        oldest = next(iter(self._heard_at.values()), math.inf)
        if len(self._heard_at) < len(self.catalog):
            oldest = min(oldest, self._oldest_before_reset())
        return max(0.0, self._clock.monotonic() - oldest) if oldest < math.inf else None

    def late(self, most: int, label: str | None = None) -> tuple[tuple[Heartbeat, ...], int]:
        """Return up to `most` late leases, the oldest heartbeats first, and the number of all late ones.

        `label` restricts both to one service.
        """
        found = [key for key in self._late_keys() if label in (None, key.label)]
        rows = []
        for key in found[:most]:
            instance = self.catalog.get(key)
            if instance is not None:
                rows.append((instance.service_name, key.instance_id, self.catalog.heartbeat_at(key)))
        return tuple(rows), len(found)

    def _late_keys(self) -> list[InstanceKey]:
        in_time = self._clock.monotonic() - self.late_after_s
        found: list[InstanceKey] = []
        if len(self._heard_at) < len(self.catalog):
            found = self._late_since_before_reset(in_time)
        for key, heard_at in self._heard_at.items():
            if heard_at >= in_time:
                break
            found.append(key)
        return found

    def _late_since_before_reset(self, in_time: float) -> list[InstanceKey]:
        # Every watcher that joins calls this, and all join a replica that has just started, which has not heard of any
        # instance yet. So it visits only the late ones, and those that were heard or removed since only once.
        not_heard = self._in_order()
        due = list(takewhile(lambda entry: entry[0] < in_time, not_heard))
        late = [(at, key) for at, key in due if self._is_not_heard(key)]
        if len(late) < len(due):
            not_heard[: len(due)] = late
        return [key for _, key in late]

    def _oldest_before_reset(self) -> float:
        not_heard = self._in_order()
        gone = next((at for at, (_, key) in enumerate(not_heard) if self._is_not_heard(key)), len(not_heard))
        del not_heard[:gone]
        return not_heard[0][0] if not_heard else math.inf

    def _in_order(self) -> list[tuple[float, InstanceKey]]:
        if self._not_heard is None:
            others = (instance.key for instance in self.catalog if instance.key not in self._heard_at)
            self._not_heard = sorted(((self._heard_before_reset(key), key) for key in others), key=itemgetter(0))
        return self._not_heard

    def _is_not_heard(self, key: InstanceKey) -> bool:
        return key not in self._heard_at and self.catalog.get(key) is not None

    def _heard_before_reset(self, key: InstanceKey) -> float:
        # Only the store's clock knows how long ago the heartbeat was; never trust it beyond a TTL.
        age_s = max(0.0, self._reset_wall - self.catalog.heartbeat_at(key))
        return self._reset_at - min(age_s, self._ttl_s)

    # -- the feed

    def reset(self, snapshot: Snapshot) -> None:
        """Replace the content with `snapshot`. An empty one means "unknown", and starts the warming."""
        now = self._clock.monotonic()
        self._reset_at, self._reset_wall = now, self._clock.wall()
        if snapshot.built is not None:
            self.catalog.exchange(snapshot.built)
        else:
            self.catalog.replace(snapshot.instances)
        self.cursor, self.recent = snapshot.cursor, snapshot.recent
        self._heard_at.clear()
        self._not_heard = None
        # A store of which no part could be read yet delivers an empty snapshot: that is not data.
        self.loaded = self.loaded or snapshot.whole or bool(snapshot.cursor.positions)
        if not snapshot.whole:
            self._warm_at = math.inf  # until the rest arrives, anything missing may exist
        elif not snapshot.instances or snapshot.born_empty:
            self.empty_since = now
            kept = self._warm_at if self._warm_at < math.inf else now
            self._warm_at = max(kept, now + self._warming_s)
        elif self._warm_at == math.inf:
            self._warm_at = now
        for listener in self._listeners:
            listener.on_reset()

    def moved(self, cursor: Cursor, differences: Sequence[Event]) -> None:
        """Continue in another history, from `cursor` on, with only these differences."""
        for event in differences:
            self._take(event)
        self.cursor = cursor
        for listener in self._listeners:
            listener.on_moved(differences)

    def apply(self, events: Sequence[Event]) -> None:
        """Apply `events`, and call the listeners after each one."""
        now = self._clock.monotonic()
        for event in events:
            if type(event) is Renewed:
                self._renew(event, now)
                continue
            known = self._take(event)
            self.cursor = self.cursor.moved_to(event.position)
            for listener in self._listeners:
                listener.on_event(event, known.service_name if known is not None else event.key.label)

    def _renew(self, event: Renewed, now: float) -> None:
        """Apply a renewal: there are many, and few listeners for them."""
        key = event.key
        instance = self.catalog.renewed(key, event.heartbeat_at)
        if instance is not None:
            self._heard_at.pop(key, None)
            self._heard_at[key] = now
        for listener in self._hear_renewals:
            listener.on_event(event, instance.service_name if instance is not None else key.label)

    def _take(self, event: Event) -> Instance | None:
        """Apply one event; return its instance as it is now, or last was."""
        key, now = event.key, self._clock.monotonic()
        before = self.catalog.get(key)
        self.catalog.apply(event)
        match event:
            case Registered(instance=instance):
                if not instance.suspect:  # a suspect record is not a sign of life
                    self._hear(key, now)
            case Renewed():
                if before is not None:
                    self._hear(key, now)
            case Deregistered() | Expired():
                self._heard_at.pop(key, None)
            case StatusChanged():
                pass
        return self.catalog.get(key) or before

    def _hear(self, key: InstanceKey, now: float) -> None:
        self._heard_at.pop(key, None)  # so that it comes last
        self._heard_at[key] = now
