"""The lines of the watch stream: events, snapshots and signs of life as bytes. Pure.

Each line is one JSON object and a newline. Who gets which line is `hub.py`'s matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeAlias

import msgspec

from registry_core.domain.catalog import Lived
from registry_core.domain.events import Deregistered, Expired, Registered, StatusChanged
from registry_core.domain.records import Instance, Status
from registry_core.watch.cursor import Cursor


class SnapshotLine(msgspec.Struct, kw_only=True, tag="snapshot"):
    """A part of everything. The reader holds the parts back until `last`, then takes them at once.

    `cursor` and `digest` (of the one service, where one was asked for) stand in the last part. `reason` says
    why the reader was not resumed.
    """

    reason: str
    first: bool
    last: bool
    state: str
    cursor: str = ""
    digest: str = ""
    instances: tuple[Lived, ...] = ()


class MovedLine(msgspec.Struct, kw_only=True, tag="moved"):
    """The store's history goes on under another name, as after a failover: from `cursor` on.

    What was sent before still holds, but for these instances, which are new or changed, and those that were taken
    out: [label of the service, instance, how many instances the service has left]. Taken at once. A reader of before
    passes `removed` over, and finds by the digest that it has to read everything.
    """

    cursor: str
    digest: str
    state: str
    instances: tuple[Lived, ...] = ()
    removed: tuple[tuple[str, str, int], ...] = ()


class _EventLine(msgspec.Struct, kw_only=True):
    """An event, after which the reader stands at `cursor`.

    `digest` is that of the whole catalogue there, and `count` how many instances the service then has: a
    reader that keeps a part of the catalogue can tell by them what becomes of the rest. A registry of before
    says neither ("" and -1).
    """

    cursor: str
    digest: str = ""
    count: int = -1


class RegisteredLine(_EventLine, kw_only=True, tag="registered"):
    instance: Instance
    heartbeat_at: float


class StatusChangedLine(_EventLine, kw_only=True, tag="status_changed"):
    service_name: str
    instance_id: str
    status: Status


class DeregisteredLine(_EventLine, kw_only=True, tag="deregistered"):
    service_name: str
    instance_id: str


class ExpiredLine(_EventLine, kw_only=True, tag="expired"):
    service_name: str
    instance_id: str


class RenewedLine(msgspec.Struct, kw_only=True, tag="renewed"):
    """The leases renewed since the last such line, gathered: [service, instance, heartbeat_at]."""

    renewed: tuple[tuple[str, str, float], ...]


class SyncLine(msgspec.Struct, kw_only=True, tag="sync"):
    """The sign of life: all up to `cursor` has been sent, and the result has this `digest`."""

    cursor: str
    digest: str
    state: str
    store_age_s: float  # seconds since the store last confirmed the replica's own view


WatchLine = (
    SnapshotLine
    | MovedLine
    | RegisteredLine
    | StatusChangedLine
    | DeregisteredLine
    | ExpiredLine
    | RenewedLine
    | SyncLine
)


# So that a reader can take a snapshot line by line, and the writer never encodes for long at a time.
PART_INSTANCES: Final = 256
PART_RENEWALS: Final = 1024

# Service name, instance id, when it was heard of (Unix seconds).
Renewal: TypeAlias = tuple[str, str, float]
# Label of the service, instance id, how many instances the service has left.
Removal: TypeAlias = tuple[str, str, int]
StateEvent: TypeAlias = Registered | StatusChanged | Deregistered | Expired

_ENCODER: Final = msgspec.json.Encoder()


def encoded(line: WatchLine) -> bytes:
    """Return one line as it is sent."""
    return _ENCODER.encode(line) + b"\n"


def event_line(event: StateEvent, service_name: str, cursor: Cursor, *, digest: str = "", count: int = -1) -> bytes:
    """Return the line of an event after which a reader stands at `cursor`.

    The whole catalogue then has `digest`, and the service `count` instances.
    """
    at, instance_id = str(cursor), event.key.instance_id
    match event:
        case Registered(instance=instance, heartbeat_at=heartbeat_at):
            line: WatchLine = RegisteredLine(
                cursor=at, digest=digest, count=count, instance=instance, heartbeat_at=heartbeat_at
            )
        case StatusChanged(status=status):
            line = StatusChangedLine(
                cursor=at,
                digest=digest,
                count=count,
                service_name=service_name,
                instance_id=instance_id,
                status=status,
            )
        case Deregistered():
            line = DeregisteredLine(
                cursor=at, digest=digest, count=count, service_name=service_name, instance_id=instance_id
            )
        case Expired():
            line = ExpiredLine(
                cursor=at, digest=digest, count=count, service_name=service_name, instance_id=instance_id
            )
    return encoded(line)


def snapshot_lines(
    instances: Sequence[Lived], *, reason: str, state: str, cursor: Cursor, digest: str
) -> Iterator[bytes]:
    """Yield a snapshot in parts of bounded size; at least one, and each encoded when it is asked for."""
    last_start = max(0, (len(instances) - 1) // PART_INSTANCES) * PART_INSTANCES
    for start in range(0, last_start + 1, PART_INSTANCES):
        last = start == last_start
        yield encoded(
            SnapshotLine(
                reason=reason,
                first=start == 0,
                last=last,
                state=state,
                cursor=str(cursor) if last else "",
                digest=digest if last else "",
                instances=tuple(instances[start : start + PART_INSTANCES]),
            )
        )


def moved_line(
    instances: Iterable[Lived], *, state: str, cursor: Cursor, digest: str, removed: Iterable[Removal] = ()
) -> bytes:
    """Return the line after which a reader stands in another history: what is new or changed, and what is gone."""
    return encoded(
        MovedLine(cursor=str(cursor), digest=digest, state=state, instances=tuple(instances), removed=tuple(removed))
    )


def renewed_lines(renewed: Iterable[Renewal]) -> list[bytes]:
    """Return the gathered renewals in lines of bounded size; none when there are none."""
    rows = iter(renewed)
    found = []
    while part := tuple(islice(rows, PART_RENEWALS)):
        found.append(encoded(RenewedLine(renewed=part)))
    return found


def sync_line(cursor: Cursor, *, digest: str, state: str, store_age_s: float) -> bytes:
    """Return the sign of life."""
    return encoded(SyncLine(cursor=str(cursor), digest=digest, state=state, store_age_s=round(store_age_s, 3)))
