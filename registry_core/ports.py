"""What the core asks of the outside world, as Protocols. Adapters stand under `store/` and `agent/`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import msgspec

from registry_core.domain import records
from registry_core.domain.breaker import BreakerState
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.events import Event
from registry_core.domain.guard import GuardPhase
from registry_core.domain.records import Instance, InstanceKey, Registration, Service, Status
from registry_core.domain.restoration import RestoreOutcome
from registry_core.watch.cursor import Cursor


class Clock(Protocol):
    """Two clocks, for two purposes."""

    def monotonic(self) -> float:
        """Seconds that never jump: for leases, ages and timeouts."""
        ...

    def wall(self) -> float:
        """Unix seconds: for what people read, and never to decide anything."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


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


class GuardReport(msgspec.Struct, frozen=True):
    """How the mass-expiry guard of one shard stands."""

    shard: str
    phase: GuardPhase
    instances: int
    suspects: int
    held_s: float  # since it began to hold; 0 when it is clear
    releases_in_s: float | None  # until it lets go by itself; None when it does not hold
    budget_per_minute: float  # how many may go in a minute once it lets go


class PoolReport(msgspec.Struct, frozen=True):
    """The connections to the master of one shard."""

    in_use: int
    idle: int
    most: int


class ShardReport(msgspec.Struct, frozen=True):
    """How one shard of a store that is not in this process stands.

    `set_aside` counts the entries that cannot be read: nothing is answered from them, and a lookup that one of them
    might answer is refused with 503. `notes` say what an operator should change about the servers of the shard.
    """

    shard: str
    master: str  # host:port; "" when none is known
    problem: str  # in words for people; "" when all is well
    epoch: str
    revision: int
    age_s: float | None  # since it last confirmed that everything was delivered; None when it never did
    writes_waiting: int
    breaker: BreakerState
    breaker_failures: int  # in a row
    last_failure: str
    last_failure_at: float | None  # Unix seconds
    not_closed_s: float  # since its breaker opened without closing again; 0 while it is closed
    latency_ms: float | None  # of the master's latest answers; None when none is known
    connection_pool: PoolReport | None  # None when no master is known
    set_aside: int = 0
    notes: tuple[str, ...] = ()


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


class StaticServices(Protocol):
    """What is said of services outside of the registry: in the environment, in a file."""

    def find(self, name: str) -> Service | None:
        """Return the service of that name, in either spelling of '_' and '-', or None."""
        ...

    def by_short(self, short: str) -> Instance | None:
        """Return the instance whose short id is `short`, or None."""
        ...


class LocalView(Protocol):
    """What the faces of an agent (DNS, localhost HTTP) answer from. In memory; nothing of it waits."""

    @property
    def catalog(self) -> Catalog:
        """All that is held. The same object for ever; it changes in place."""
        ...

    def find(self, name: str) -> Service | None:
        """Return the service of that name, in either spelling, and take note that it was asked for.

        What is said of it elsewhere, when the catalogue does not have it. None also for one that `lacks` names.
        """
        ...

    def lacks(self, name: str) -> bool:
        """Whether there is such a service, and it is not held: the fleet is larger than the view may be."""
        ...

    def fetch(self, name: str) -> asyncio.Future[None] | None:
        """Begin to read a service that is lacking; the future ends, without a word, when `find` may have it.

        None: it is not lacking, or nobody can be asked now. What the future is waited for is bounded.
        """
        ...

    def labels(self) -> Collection[str]:
        """Return the labels of all services, also of those that are lacking."""
        ...

    def transports(self, label: str) -> frozenset[records.Protocol]:
        """Return TCP, UDP or both: what the service is reached by. Nothing for what there is not."""
        ...

    @property
    def holds_all(self) -> bool:
        """Whether no service is lacking."""
        ...

    @property
    def static_services(self) -> StaticServices:
        """What is said elsewhere of services that the catalogue does not have; nothing while it is complete."""
        ...

    @property
    def complete(self) -> bool:
        """Whether a name that is missing is known not to exist.

        False until everything has been read once, and while the registry is warming: a missing name
        is then unknown, and the answer says "cannot tell" (SERVFAIL, 503), never "no" (NXDOMAIN, 404).
        """
        ...

    def age_s(self) -> float:
        """Seconds since the registry last confirmed the view; 0 while its watch is live."""
        ...

    def subscribe(self, listener: Callable[[frozenset[str]], None]) -> None:
        """Have `listener` called, at once and in order, with the labels of services that changed.

        The empty set says that `complete` or the freshness class changed, so that every answer made
        before may be wrong.
        """
        ...
