"""The interface of a store of registrations: its operations, and the feed that it delivers to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from registry_core.domain.admission import ANYBODY, Newcomer
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.events import Event
from registry_core.domain.records import Instance, InstanceKey, Registration, Status
from registry_core.domain.restoration import RestoreOutcome
from registry_core.ports.denials import DenialStore
from registry_core.ports.reports import GuardReport, ShardReport
from registry_core.watch.cursor import Cursor
from registry_core.watch.recent import LatestEvents


class Snapshot(msgspec.Struct, frozen=True):
    """All instances at one moment, and the cursor from which events continue.

    Not `whole`: part of the store could not be read, and its content is unknown. `born_empty`: part of the
    store started without any data, so a missing instance may be alive. `built` is a catalogue of these
    instances, if one exists already: the receiver may swap it in instead of building its own. `recent`: what changed
    last in each shard, as far as the store knows.
    """

    cursor: Cursor
    instances: tuple[Lived, ...]
    whole: bool = True
    born_empty: bool = False
    built: Catalog | None = None
    recent: tuple[LatestEvents, ...] = ()


class Feed(Protocol):
    """Where a store delivers what happens, in order, from its event loop's thread."""

    def reset(self, snapshot: Snapshot) -> None:
        """Replace everything with `snapshot`: the store started, or lost its history."""
        ...

    def apply(self, events: Sequence[Event]) -> None:
        """Apply events that follow the last snapshot or events."""
        ...

    def moved(self, cursor: Cursor, differences: Sequence[Event]) -> None:
        """Continue in another history, from `cursor` on: the data differs only by `differences`.

        A store calls this after a failover in which it lost no acknowledged write.
        """
        ...


class Grant(msgspec.Struct, frozen=True):
    """The result of a registration: the record as stored, and the lease that it was granted."""

    instance: Instance
    created: bool
    ttl_s: float


class Beat(msgspec.Struct, frozen=True):
    """One heartbeat: for an instance, or, without an id, for the service's newest instance."""

    service_name: str
    instance_id: str | None = None
    epoch: int | None = None


class BeatResult(msgspec.Struct, frozen=True):
    """The result of one heartbeat.

    Unknown: register again. Fenced: a newer owner exists, so stop. Unavailable: its shard is away, try again.
    """

    outcome: str  # "renewed" | "unknown" | "fenced" | "unavailable"
    key: InstanceKey | None = None


class SweepReport(msgspec.Struct, frozen=True):
    """The result of one sweep: expired instances, those newly held by the guard, and the amnesty, if any.

    A shard that could not be swept is listed in `unswept`; the expiries of the others are still reported.
    """

    expired: tuple[InstanceKey, ...]
    amnesty_s: float
    suspected: tuple[InstanceKey, ...] = ()
    spared: bool = False  # a due instance waits for the next sweep, which should be soon
    unswept: tuple[tuple[str, str], ...] = ()  # the shards that could not be swept, each with the reason


class Store(Protocol):
    """Where registrations live. Every operation is atomic, and idempotent when repeated.

    Every operation may raise StoreUnavailable; it then took effect entirely or not at all. When an
    operation returns, its effects have been delivered to the feed.

    `lets_once`: all replicas of this store carry a signed request out once (`once.py`), whatever they remember
    themselves; its other writes end in Replayed.
    """

    lets_once: bool

    @property
    def denials(self) -> DenialStore:
        """The deny list, which is in the same place."""
        ...

    async def start(self, feed: Feed) -> None:
        """Start, and deliver a snapshot to `feed`, then every event."""
        ...

    async def close(self) -> None:
        """Stop delivering and release all resources. Safe to call twice."""
        ...

    def age_s(self) -> float:
        """Seconds since the feed was last known to be up to date."""
        ...

    def shards(self) -> tuple[ShardReport, ...]:
        """Return the state of each shard; nothing for a store in this process. Does no I/O."""
        ...

    def unknown(self, label: str) -> str:
        """Return why a service of this label may exist although it was not delivered; "" when it does not exist.

        For example, its shard is not followed at present, or one of its entries cannot be read. Does no I/O.
        """
        ...

    async def register(
        self, claim: Registration, *, sequence: int | None = None, newcomer: Newcomer = ANYBODY
    ) -> Grant:
        """Store `claim` (already checked) and start its lease.

        `sequence` orders the writes of one owner (epoch): a write that arrives after a higher one is Late, and a
        repeat of the same one changes nothing. None opts out of this order. `admission.py` says when an address
        is taken over, and what of `newcomer` that depends on.

        Raises Conflict when the name or an address belongs to another instance, Fenced for an older epoch, Late. The
        first two name the holder, and say when to come again.
        """
        ...

    async def restore(self, saved: Instance) -> RestoreOutcome:
        """Restore `saved` (already checked) if it is missing: unchanged, with a lease that starts now.

        Raises Conflict when the name or address belongs to another instance.
        """
        ...

    async def renew(self, beats: Sequence[Beat]) -> list[BeatResult]:
        """Renew many leases, and return one result for each, in order.

        Raises Unavailable only when no shard could be asked; otherwise single results are "unavailable".
        """
        ...

    async def set_status(
        self, key: InstanceKey, status: Status, epoch: int | None = None, *, sequence: int | None = None
    ) -> Instance:
        """Change a status. Raises NotFound, Fenced for an older epoch, or Late."""
        ...

    async def deregister(self, key: InstanceKey, epoch: int | None = None, *, sequence: int | None = None) -> Instance:
        """Remove an instance at once. Raises NotFound, Fenced for an older epoch, or Late.

        For a minute, a registration, status change or removal that the same or an older owner sent before it is
        refused as Late.
        """
        ...

    async def sweep(self) -> SweepReport:
        """Expire instances whose lease and grace have run out, unless the guard holds them.

        Raises Unavailable only when no shard could be swept; otherwise the report names the failed ones.
        """
        ...

    def guards(self) -> tuple[GuardReport, ...]:
        """Return the state of each shard's guard as of the last sweep or release. Does no I/O."""
        ...

    async def release_guard(self, shard: str | None = None) -> tuple[str, ...]:
        """Release the guard of one shard, or of all.

        Return the names of the shards whose guard was holding. Raises NotFound for an unknown shard.
        """
        ...

    async def snapshot(self) -> Snapshot:
        """Return every instance, with the cursor from which events continue."""
        ...
