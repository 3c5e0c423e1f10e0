"""Where registrations live, as the registry's faces see it: what is asked of a store, and what it delivers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.events import Event
from registry_core.domain.records import Instance, InstanceKey, Registration, Status
from registry_core.domain.restoration import RestoreOutcome
from registry_core.ports.reports import GuardReport, ShardReport
from registry_core.watch.cursor import Cursor


class Snapshot(msgspec.Struct, frozen=True):
    """Everything there is at one moment, and the cursor from which events go on.

    Not `whole`: a part of the store could not be read, and what it holds is unknown. `born_empty`: a part
    of it came up without any memory, so that what is missing may be alive. `built` is the catalogue of these
    instances where one was made already: who takes the snapshot may exchange his own for it, and make none anew.
    """

    cursor: Cursor
    instances: tuple[Lived, ...]
    whole: bool = True
    born_empty: bool = False
    built: Catalog | None = None


class Feed(Protocol):
    """Where a store delivers what happens, in order, from its event loop's thread."""

    def reset(self, snapshot: Snapshot) -> None:
        """Forget everything and hold `snapshot`: the store started, or lost its history."""
        ...

    def apply(self, events: Sequence[Event]) -> None:
        """Go on from the last snapshot or events."""
        ...

    def moved(self, cursor: Cursor, differences: Sequence[Event]) -> None:
        """Go on in another history, from `cursor` on: what is held differs from it by these, and by nothing else.

        A store that has another master, and lost nothing of what it had acknowledged, says so in this way.
        """
        ...


class Grant(msgspec.Struct, frozen=True):
    """What a registration led to: the record as stored, and the lease that it was granted."""

    instance: Instance
    created: bool
    ttl_s: float


class Beat(msgspec.Struct, frozen=True):
    """One heartbeat: of an instance, or, without an id, of the service's newest instance."""

    service_name: str
    instance_id: str | None = None
    epoch: int | None = None


class BeatResult(msgspec.Struct, frozen=True):
    """What became of one heartbeat.

    Unknown: register again. Fenced: somebody newer owns it, stop. Unavailable: its shard is away, try again.
    """

    outcome: str  # "renewed" | "unknown" | "fenced" | "unavailable"
    key: InstanceKey | None = None


class SweepReport(msgspec.Struct, frozen=True):
    """What one sweep did: who went, whom the guard newly holds, and the time given to all, if any.

    A shard that could not be swept does not hide what the others expired: it is named in `unswept`.
    """

    expired: tuple[InstanceKey, ...]
    amnesty_s: float
    suspected: tuple[InstanceKey, ...] = ()
    spared: bool = False  # somebody who is due waits for the next sweep, which should be soon
    unswept: tuple[tuple[str, str], ...] = ()  # the shards that could not be swept, each with the reason


class Store(Protocol):
    """Where registrations live. Every operation is atomic, and idempotent when repeated.

    Every operation may raise StoreUnavailable, after which nothing, or all of it, was done. What an
    operation did has been delivered to the feed when it returns.
    """

    async def start(self, feed: Feed) -> None:
        """Begin, delivering a snapshot to `feed` and then every event."""
        ...

    async def close(self) -> None:
        """Stop delivering and let go of everything. Safe to call twice."""
        ...

    def age_s(self) -> float:
        """Seconds since what was delivered to the feed was last known to be all there is."""
        ...

    def shards(self) -> tuple[ShardReport, ...]:
        """Return how each shard stands; nothing for a store in this process. Asks nobody, waits for nothing."""
        ...

    def unknown(self, label: str) -> str:
        """Return why a service of this label may exist although it was not delivered; "" when it does not exist.

        Its shard is not followed at present, or an entry of it cannot be read. Asks nobody, waits for nothing.
        """
        ...

    async def register(self, claim: Registration, *, sequence: int | None = None, may_displace: bool = True) -> Grant:
        """Store `claim` (already checked) and start its lease.

        `sequence` orders the writes of one owner (epoch): what comes after a higher one is Late, and what comes
        again with the same one changes nothing. None takes no part in that. Without `may_displace` the address of
        another service is taken over only when its holder is overdue or suspect, not when it is critical.

        Raises Conflict when the name or address is somebody else's, Fenced for an older epoch, Late.
        """
        ...

    async def restore(self, saved: Instance) -> RestoreOutcome:
        """Bring back `saved` (already checked), as it was and with a lease that starts now, where it is missing.

        Raises Conflict when the name or address is somebody else's.
        """
        ...

    async def renew(self, beats: Sequence[Beat]) -> list[BeatResult]:
        """Renew many leases, and return one result for each, in order.

        Raises Unavailable only when none could be asked about; else the others' results say so.
        """
        ...

    async def set_status(
        self, key: InstanceKey, status: Status, epoch: int | None = None, *, sequence: int | None = None
    ) -> Instance:
        """Change a status. Raises NotFound, Fenced for an older epoch, or Late."""
        ...

    async def deregister(self, key: InstanceKey, epoch: int | None = None, *, sequence: int | None = None) -> Instance:
        """Take an instance out at once. Raises NotFound, Fenced for an older epoch, or Late.

        A registration, status or removal of the same or an older owner that was sent before it is refused as Late
        for a minute.
        """
        ...

    async def sweep(self) -> SweepReport:
        """Expire what has run out, unless the guard holds it.

        Raises Unavailable only when no shard could be swept; else the report names those that could not.
        """
        ...

    def guards(self) -> tuple[GuardReport, ...]:
        """Return how the guard of each shard stood at the last sweep or release. Asks nobody, waits for nothing."""
        ...

    async def release_guard(self, shard: str | None = None) -> tuple[str, ...]:
        """Have the guard of one shard, or of all, let go of what it holds.

        Returns the names of the shards whose guard was holding. Raises NotFound for an unknown shard.
        """
        ...

    async def snapshot(self) -> Snapshot:
        """Return everything there is, with the cursor from which events go on."""
        ...
