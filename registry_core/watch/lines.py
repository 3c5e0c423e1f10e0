"""The lines of the watch stream: their types and their encoding. Pure.

Each line is one JSON object and a newline; `type` tells them apart. The hub decides which reader gets which line,
and `reader.py` turns lines into changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final, TypeAlias, cast

import msgspec

from registry_core.domain.catalog import Lived
from registry_core.domain.digest import digest_text
from registry_core.domain.encoding import instance_json
from registry_core.domain.events import Deregistered, Expired, Registered, StatusChanged
from registry_core.domain.records import Instance, Status
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import GOODBYE_LEAST_S, GOODBYE_MOST_S, MAX_REPLICAS_TOLD, RETURNS_PER_S
from registry_core.watch.packing import PackedLine

PART_RENEWALS: Final = 1024

# Service name, instance id, time of the heartbeat (Unix seconds, the store's clock).
Heartbeat: TypeAlias = tuple[str, str, float]
# Label of the service, instance id, number of instances that the service has left.
Removal: TypeAlias = tuple[str, str, int]
StateEvent: TypeAlias = Registered | StatusChanged | Deregistered | Expired


class SnapshotLine(msgspec.Struct, kw_only=True, tag="snapshot"):
    """Part of a snapshot. The reader holds the parts back until `last`, then applies them at once.

    The last part has the `cursor` and the `digest` (of the one service, if only one was asked for). `reason`
    says why the stream did not resume.
    """

    reason: str
    first: bool
    last: bool
    state: str
    cursor: str = ""
    digest: str = ""
    instances: tuple[Lived, ...] = ()


class MovedLine(msgspec.Struct, kw_only=True, tag="moved"):
    """The store's history continues under another name, from `cursor` on, as after a failover.

    What was sent before still holds, except for `instances`, which are new or changed, and the removed ones:
    [label of the service, instance, number of instances that the service has left]. Applied at once.
    """

    cursor: str
    digest: str
    state: str
    instances: tuple[Lived, ...] = ()
    removed: tuple[Removal, ...] = ()


class _EventLine(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An event at `position`: its place in the history of its shard, the same at every replica.

    `change` is its effect on the catalogue's digest (exclusive or of before and after), and `count` the number of
    instances that the service has after it: a reader that holds part of the catalogue tracks the rest by them. In
    version 1 of the protocol an event has the sender's whole `cursor` instead, and the `digest` of the sender's whole
    catalogue.
    """

    position: str = ""
    change: str = ""
    count: int = -1
    cursor: str = ""
    digest: str = ""


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
    """The leases renewed since the last such line: [service, instance, heartbeat_at]. Sent in version 1."""

    renewed: tuple[Heartbeat, ...]


class SyncLine(msgspec.Struct, kw_only=True, omit_defaults=True, tag="sync"):
    """The sign of life: everything up to `cursor` has been sent, and the result has this `digest`.

    Without a cursor, nothing has happened since the last sign of life. All leases were renewed within `late_after_s`,
    except for those in `late`: of `late_total`, the ones with the oldest heartbeats. `store_age_s`: seconds since the
    store last confirmed what the replica has read from it. `unread` names the shards of which the replica has read
    nothing yet, so their instances are missing here.
    """

    cursor: str = ""
    digest: str
    state: str
    store_age_s: float | None = None
    late_after_s: float = 0.0
    late: tuple[Heartbeat, ...] = ()
    late_total: int = 0
    unread: tuple[str, ...] = ()


class GoodbyeLine(msgspec.Struct, kw_only=True, tag="goodbye"):
    """The last line of a replica that stops: the reader is to resume elsewhere, at a random moment within `within_s`.

    `replicas` are the URLs of the deployment's replicas, as they know each other; this one may be among them.
    """

    within_s: float
    replicas: tuple[str, ...] = ()


EventLine: TypeAlias = RegisteredLine | StatusChangedLine | DeregisteredLine | ExpiredLine
WatchLine: TypeAlias = (
    SnapshotLine
    | MovedLine
    | RegisteredLine
    | StatusChangedLine
    | DeregisteredLine
    | ExpiredLine
    | RenewedLine
    | SyncLine
    | GoodbyeLine
    | PackedLine
)


class _SyncLineOfVersion1(msgspec.Struct, kw_only=True, tag="sync"):
    """The sign of life of version 1, whose readers need every field, and a number for the age."""

    cursor: str
    digest: str
    state: str
    store_age_s: float


_ENCODER: Final = msgspec.json.Encoder()
_EVENT_DECODER: Final = msgspec.json.Decoder(EventLine)


def encoded(line: WatchLine) -> bytes:
    """Return one encoded line."""
    return _ENCODER.encode(line) + b"\n"


def encoded_record(lived: Lived) -> bytes:
    """Return one instance encoded for a snapshot."""
    return _ENCODER.encode(lived)


def event_line(event: StateEvent, service_name: str, *, change: int, count: int) -> bytes:
    """Return the line of an event; `change` and `count` are as in the line."""
    at = event.position
    position, changed = f"{at.shard}.{at.epoch}.{at.revision}", digest_text(change)
    line: EventLine
    match event:
        case Registered(instance=instance, heartbeat_at=heartbeat_at):
            # Nearly all events that are not renewals. The text holds no character that JSON escapes.
            start = f'{{"type":"registered","position":"{position}","change":"{changed}","count":{count},"instance":'
            return b'%b%b,"heartbeat_at":%b}\n' % (
                start.encode(),
                instance_json(instance),
                _ENCODER.encode(heartbeat_at),
            )
        case StatusChanged(key=key, status=status):
            line = StatusChangedLine(
                position=position,
                change=changed,
                count=count,
                service_name=service_name,
                instance_id=key.instance_id,
                status=status,
            )
        case Deregistered(key=key):
            line = DeregisteredLine(
                position=position, change=changed, count=count, service_name=service_name, instance_id=key.instance_id
            )
        case Expired(key=key):
            line = ExpiredLine(
                position=position, change=changed, count=count, service_name=service_name, instance_id=key.instance_id
            )
    return encoded(line)


def event_line_of_version_1(line: bytes, cursor: Cursor, digest: int) -> bytes:
    """Return an event's line for a reader of version 1, with the sender's `cursor` and `digest` after the event."""
    event = _EVENT_DECODER.decode(line)
    return encoded(
        msgspec.structs.replace(event, position="", change="", cursor=str(cursor), digest=digest_text(digest))
    )


def snapshot_line(
    records: bytes, *, reason: str, first: bool, last: bool, state: str, cursor: Cursor, digest: str
) -> bytes:
    """Return a part of a snapshot; `records` is a JSON array of encoded records."""
    return encoded(
        SnapshotLine(
            reason=reason,
            first=first,
            last=last,
            state=state,
            cursor=str(cursor) if last else "",
            digest=digest if last else "",
            instances=cast("tuple[Lived, ...]", msgspec.Raw(records)),
        )
    )


def moved_line(
    instances: Iterable[Lived], *, state: str, cursor: Cursor, digest: str, removed: Iterable[Removal] = ()
) -> bytes:
    """Return the line that moves a reader to another history, with the changed and the removed instances."""
    return encoded(
        MovedLine(cursor=str(cursor), digest=digest, state=state, instances=tuple(instances), removed=tuple(removed))
    )


def renewed_lines(renewed: Iterable[Heartbeat]) -> list[bytes]:
    """Return the renewals as lines of bounded size; none when there are none."""
    rows = iter(renewed)
    lines = []
    while part := tuple(islice(rows, PART_RENEWALS)):
        lines.append(encoded(RenewedLine(renewed=part)))
    return lines


def goodbye_line(watchers: int, replicas: Iterable[str] = ()) -> bytes:
    """Return the last line for each of so many watchers, which then return over a time that grows with their number."""
    within_s = min(GOODBYE_MOST_S, max(GOODBYE_LEAST_S, watchers / RETURNS_PER_S))
    return encoded(GoodbyeLine(within_s=round(within_s, 3), replicas=tuple(islice(replicas, MAX_REPLICAS_TOLD))))


def sync_line_of_version_1(cursor: Cursor, *, digest: str, state: str, store_age_s: float) -> bytes:
    """Return the sign of life for a reader of version 1."""
    line = _SyncLineOfVersion1(cursor=str(cursor), digest=digest, state=state, store_age_s=round(store_age_s, 3))
    return _ENCODER.encode(line) + b"\n"
