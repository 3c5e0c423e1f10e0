"""Reads the registry's watch stream: bytes in, however they were cut, and changes out. Pure.

A line that was not received to its end never counts, nor do the parts of a snapshot before the last
one has come. What was taken is told by the cursor: whoever resumes from it gets everything after it,
once, in order. Lines of a kind that is not known here are passed over; anything else that does not
fit is BrokenStream, after which the stream is of no more use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import msgspec

from registry_core.domain.catalog import Lived
from registry_core.domain.events import Deregistered, Event, Expired, Position, Registered, StatusChanged
from registry_core.domain.names import label_of
from registry_core.domain.records import InstanceKey
from registry_core.errors import ValidationError, VerticeError
from registry_core.watch.cursor import Cursor, parse_cursor
from registry_core.watch.lines import (
    DeregisteredLine,
    ExpiredLine,
    MovedLine,
    RegisteredLine,
    RenewedLine,
    SnapshotLine,
    StatusChangedLine,
    SyncLine,
    WatchLine,
)
from registry_core.watch.stage import Everything, Rest, Stage

# A part of a snapshot has at most 256 instances, each with at most 8 KiB of metadata and 4 of the rest.
MAX_LINE_BYTES: Final = 4 * 1024 * 1024
MAX_INSTANCES: Final = 1_000_000

_DECODER: Final = msgspec.json.Decoder(WatchLine)
_KNOWN: Final = frozenset(
    {"snapshot", "moved", "registered", "status_changed", "deregistered", "expired", "renewed", "sync"},
)


class BrokenStream(VerticeError):
    """Raised when the stream is not what a registry sends; the cursor before it is still good."""


class Replaced(msgspec.Struct, frozen=True):
    """Everything there is, as of `cursor`: what the stage has kept, and what it says of the rest."""

    instances: tuple[Lived, ...]
    cursor: Cursor
    digest: str
    state: str
    reason: str
    rest: Rest = Rest()


class Moved(msgspec.Struct, frozen=True):
    """The registry's history goes on under another name: all that was read holds, but for these instances.

    `removed`: who was taken out, and how many instances the service has left.
    """

    instances: tuple[Lived, ...]
    cursor: Cursor
    digest: str
    state: str
    removed: tuple[tuple[InstanceKey, int], ...] = ()


class Happened(msgspec.Struct, frozen=True):
    """One event, after which the reader stands at `cursor`.

    `digest` and `count` are the registry's: of the whole catalogue then, and of the service's instances; "" and
    -1 when it does not say.
    """

    event: Event
    cursor: Cursor
    digest: str = ""
    count: int = -1


class Heard(msgspec.Struct, frozen=True):
    """Leases that were renewed: of whom, and when (Unix seconds, the registry's clock)."""

    renewed: tuple[tuple[InstanceKey, float], ...]


class Synced(msgspec.Struct, frozen=True):
    """The sign of life: all up to `cursor` has been read, and makes this `digest`."""

    cursor: Cursor
    digest: str
    state: str
    store_age_s: float


WatchChange: TypeAlias = Replaced | Moved | Happened | Heard | Synced


class _Typed(msgspec.Struct):
    type: str


class WatchReader:
    """The reader of one connection that was opened with `cursor`."""

    def __init__(
        self, cursor: Cursor, *, stage: Callable[[], Stage] = Everything, max_line_bytes: int = MAX_LINE_BYTES
    ) -> None:
        """`stage` makes the place where the parts of a snapshot are held back."""
        self._cursor = cursor
        self._stage = stage
        self._max_line_bytes = max_line_bytes
        self._pieces: list[bytes] = []  # of the line that has not ended yet
        self._pieces_bytes = 0
        self._parts: Stage | None = None  # of the snapshot that has not ended yet
        self._count = 0  # of its instances

    def feed(self, data: bytes) -> Iterator[WatchChange]:
        """Yield the changes that `data` completes.

        Raises BrokenStream after the changes that stand before what is broken.
        """
        piece, *rest = data.split(b"\n")
        self._keep(piece)
        for next_piece in rest:
            line = b"".join(self._pieces)
            self._pieces, self._pieces_bytes = [], 0
            self._keep(next_piece)
            if line.strip():
                change = self._change(line)
                if change is not None:
                    yield change

    def _keep(self, piece: bytes) -> None:
        self._pieces_bytes += len(piece)
        if self._pieces_bytes > self._max_line_bytes:
            raise BrokenStream(f"a line has more than {self._max_line_bytes} bytes")
        if piece:
            self._pieces.append(piece)

    def _change(self, line: bytes) -> WatchChange | None:
        try:
            parsed: WatchLine = _DECODER.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            if _is_of_another_kind(line):
                return None
            raise BrokenStream(f"a line cannot be read: {error}") from None
        match parsed:
            case SnapshotLine():
                return self._part(parsed)
            case MovedLine():
                if self._parts is not None or not self._cursor.positions:
                    raise BrokenStream("a history goes on that was not begun")
                self._cursor = _cursor(parsed.cursor)
                removed = tuple((InstanceKey(label_of(name), id_), left) for name, id_, left in parsed.removed)
                return Moved(parsed.instances, self._cursor, parsed.digest, parsed.state, removed)
            case RenewedLine(renewed=renewed):
                return Heard(tuple((InstanceKey(label_of(name), id_), at) for name, id_, at in renewed))
            case SyncLine():
                # Every event up to there must have come: else one was lost, and no digest needed to tell.
                cursor = _cursor(parsed.cursor)
                if self._parts is not None or cursor != self._cursor:
                    raise BrokenStream(f"a sign of life for {cursor}, read up to {self._cursor}")
                return Synced(cursor, parsed.digest, parsed.state, parsed.store_age_s)
            case RegisteredLine() | StatusChangedLine() | DeregisteredLine() | ExpiredLine():
                return self._event(parsed)

    def _part(self, line: SnapshotLine) -> Replaced | None:
        if line.first:
            self._parts, self._count = self._stage(), 0
        if self._parts is None:
            raise BrokenStream("a part of a snapshot without its first")
        self._count += len(line.instances)
        if self._count > MAX_INSTANCES:
            raise BrokenStream(f"a snapshot has more than {MAX_INSTANCES} instances")
        self._parts.add(line.instances)
        if not line.last:
            return None
        (instances, rest), self._parts = self._parts.taken(), None
        self._cursor = _cursor(line.cursor)
        return Replaced(instances, self._cursor, line.digest, line.state, line.reason, rest)

    def _event(self, line: RegisteredLine | StatusChangedLine | DeregisteredLine | ExpiredLine) -> Happened | None:
        if self._parts is not None:
            raise BrokenStream("an event within a snapshot")
        cursor = _cursor(line.cursor)
        position = _step(self._cursor, cursor)
        if position is None:
            return None  # it was read before
        self._cursor = cursor
        event: Event
        match line:
            case RegisteredLine(instance=instance, heartbeat_at=heartbeat_at):
                event = Registered(position, instance, heartbeat_at)
            case StatusChangedLine(status=status):
                event = StatusChanged(position, _key(line), status)
            case DeregisteredLine():
                event = Deregistered(position, _key(line))
            case ExpiredLine():
                event = Expired(position, _key(line))
        return Happened(event, cursor, line.digest, line.count)


def _step(known: Cursor, cursor: Cursor) -> Position | None:
    """Return the position by which `cursor` goes one event beyond `known`; None when it goes nowhere.

    Raises BrokenStream when events between them are missing, or are of another history.
    """
    moved = [p for p in cursor.positions if known.at(p.shard) != p]
    if not moved:
        return None
    before = known.at(moved[0].shard)
    if len(moved) > 1 or before is None or before.epoch != moved[0].epoch:
        raise BrokenStream(f"an event at {cursor}, read up to {known}")
    if moved[0].revision <= before.revision:
        return None
    if moved[0].revision != before.revision + 1:
        raise BrokenStream(f"events are missing between {known} and {cursor}")
    return moved[0]


def _cursor(text: str) -> Cursor:
    try:
        return parse_cursor(text)
    except ValidationError as error:
        raise BrokenStream(f"a cursor cannot be read: {error.message}") from None


def _key(line: StatusChangedLine | DeregisteredLine | ExpiredLine) -> InstanceKey:
    return InstanceKey(label_of(line.service_name), line.instance_id)


def _is_of_another_kind(line: bytes) -> bool:
    try:
        return msgspec.json.decode(line, type=_Typed).type not in _KNOWN
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
