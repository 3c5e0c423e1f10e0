"""Reads a watch stream: bytes in, however they were split, and changes out. Pure.

A line counts once its newline has arrived, and a snapshot once its last part has. The cursor says what has been read:
a stream opened with it, at any replica, continues with everything after it, once and in order.

Three things may be wrong with a line. It contradicts what was read before, or the stream does not begin like a watch:
BrokenStream, and the stream is useless from then on. It is of a later release: an unknown event is an UnknownEvent, and
its service must be read again; an unknown line of another kind is ignored. Or it is unreadable: PassedOver, and the
reader continues after it; the digest of the next sign of life shows whether anything is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from registry_core.content_faults import unreadable
from registry_core.domain.catalog import Lived
from registry_core.domain.digest import digest_number
from registry_core.domain.events import Deregistered, Event, Expired, Position, Registered, StatusChanged
from registry_core.domain.foreign_values import record_of
from registry_core.domain.names import label_of
from registry_core.domain.records import InstanceKey
from registry_core.errors import ValidationError, VerticeError
from registry_core.watch.changes import (
    Happened,
    Heard,
    LeaseReport,
    Moved,
    PassedOver,
    Replaced,
    SentOn,
    Synced,
    UnknownEvent,
    WatchChange,
)
from registry_core.watch.cursor import Cursor, parse_cursor, parse_position
from registry_core.watch.later_lines import EVENTS, WHOLES, AnyLine, event_with_foreign_values
from registry_core.watch.limits import GOODBYE_MOST_S, MAX_INSTANCES, MAX_LINE_BYTES, MAX_REPLICAS_TOLD
from registry_core.watch.lines import (
    DeregisteredLine,
    EventLine,
    ExpiredLine,
    GoodbyeLine,
    Heartbeat,
    MovedLine,
    RegisteredLine,
    RenewedLine,
    SnapshotLine,
    StatusChangedLine,
    SyncLine,
    WatchLine,
)
from registry_core.watch.packing import NotUnpackable, PackedLine, Unpacking
from registry_core.watch.stage import Everything, Stage

_DECODER: Final = msgspec.json.Decoder(WatchLine)
_OTHERS: Final = frozenset({"renewed", "sync", "goodbye"})
_SHOWN: Final = 200  # characters of a problem


class BrokenStream(VerticeError):
    """Raised when a stream contradicts itself; the cursor from before is still valid."""


class BrokenPacking(BrokenStream):
    """Raised when packed lines cannot be unpacked: another stream may be asked for without packing."""


class WatchReader:
    """The reader of one connection opened with `cursor`, for everything or for one service (`part`)."""

    def __init__(
        self,
        cursor: Cursor,
        *,
        part: bool = False,
        stage: Callable[[], Stage] = Everything,
        max_line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        """`stage` creates the stage that holds back the parts of a snapshot."""
        self._cursor = cursor
        self._part = part
        self._stage = stage
        self._max_line_bytes = max_line_bytes
        self._pieces: list[bytes] = []  # of the unfinished line
        self._pieces_bytes = 0
        self._too_long = False  # the unfinished line is; drop it up to its end
        self._staged: Stage | None = None  # of the unfinished snapshot
        self._staged_whole = True
        self._count = 0  # of the snapshot's instances
        self._told: int | None = None  # the last digest from a registry of version 1
        # Sender and reader at the last sign of life; after a snapshot or a move, both are at its cursor.
        self._synced = self._read_then = cursor
        # A line was skipped: events may be missing, and the next sign of life gives the reader's position.
        self._lacks = False
        self._spoken = False  # a valid line has arrived
        self._unpacking: Unpacking | None = None  # of the octets that follow a packed line
        self._within = False  # whether the lines being read were packed

    def feed(self, data: bytes) -> Iterator[WatchChange]:
        """Yield the changes that `data` completes.

        Raises BrokenStream after yielding the changes before the broken line.
        """
        at = 0
        while at < len(data):
            if self._unpacking is not None:
                at = self._unpacking.take(data, at)
                if self._unpacking.is_complete:
                    yield from self._unpacked(self._unpacking)
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._gather(data[at:])
                return
            self._gather(data[at:end])
            at = end + 1
            line, too_long = b"".join(self._pieces), self._too_long
            self._pieces, self._pieces_bytes, self._too_long = [], 0, False
            if too_long:
                yield self._passed_over(f"a line has more than {self._max_line_bytes} bytes")
            elif line.strip():
                yield from self._changes(line)

    def _unpacked(self, unpacking: Unpacking) -> Iterator[WatchChange]:
        try:
            lines = unpacking.lines()
        except NotUnpackable as error:
            raise BrokenPacking(str(error)) from None
        self._unpacking, self._within = None, True
        yield from self.feed(lines)
        self._within = False

    def _gather(self, piece: bytes) -> None:
        self._pieces_bytes += len(piece)
        if self._pieces_bytes > self._max_line_bytes:
            self._pieces, self._too_long = [], True
        elif piece:
            self._pieces.append(piece)

    def _passed_over(self, problem: str) -> PassedOver:
        self._lacks, self._staged_whole = True, False
        return PassedOver(problem[:_SHOWN])

    def _changes(self, line: bytes) -> Iterator[WatchChange]:
        try:
            parsed: WatchLine = _DECODER.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            yield from self._otherwise(line, unreadable(error))
            return
        self._spoken = True
        change = self._change(parsed)
        if change is not None:
            yield change

    def _change(self, line: WatchLine) -> WatchChange | None:
        match line:
            case SnapshotLine():
                return self._part_of_snapshot(line)
            case MovedLine():
                if self._staged is not None or not self._cursor.positions:
                    raise BrokenStream("a history continues that never began")
                before = self._cursor
                self._start_at(_cursor(line.cursor))
                is_resumed = all(
                    p.epoch == q.epoch for p, q in zip(before.positions, self._cursor.positions, strict=False)
                )
                self._told = digest_number(line.digest)
                removed = tuple((InstanceKey(label_of(name), id_), left) for name, id_, left in line.removed)
                return Moved(line.instances, self._cursor, line.digest, line.state, removed, is_resumed)
            case RenewedLine(renewed=renewed):
                return Heard(tuple(_heard(renewed).items()))
            case SyncLine():
                return self._sign_of_life(line)
            case GoodbyeLine(within_s=within_s, replicas=replicas):
                return SentOn(min(max(within_s, 0.0), GOODBYE_MOST_S), replicas[:MAX_REPLICAS_TOLD])
            case PackedLine():
                self._unpacks(line)
                return None
            case RegisteredLine() | StatusChangedLine() | DeregisteredLine() | ExpiredLine():
                return self._event(line)

    def _unpacks(self, line: PackedLine) -> None:
        """Take what follows as packed. Raises BrokenPacking."""
        if self._within:
            raise BrokenPacking("packed lines within packed lines")
        try:
            self._unpacking = Unpacking(line)
        except NotUnpackable as error:
            raise BrokenPacking(str(error)) from None

    # -- the kinds of lines

    def _part_of_snapshot(self, line: SnapshotLine, *, whole: bool = True) -> Replaced | None:
        if line.first:
            self._staged, self._staged_whole, self._count = self._stage(), True, 0
        if self._staged is None:
            raise BrokenStream("a snapshot without its first part")
        self._staged_whole = self._staged_whole and whole
        self._count += len(line.instances)
        if self._count > MAX_INSTANCES:
            raise BrokenStream(f"a snapshot has more than {MAX_INSTANCES} instances")
        self._staged.add(line.instances)
        if not line.last:
            return None
        (instances, rest), self._staged = self._staged.taken(), None
        self._start_at(_cursor(line.cursor))
        self._lacks = False
        self._told = digest_number(line.digest)
        return Replaced(instances, self._cursor, line.digest, line.state, line.reason, rest, self._staged_whole)

    def _event(self, line: EventLine) -> Happened | None:
        change = self._step(line)
        if change is None:
            return None
        position, did = change
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
        return Happened(event, self._cursor, did, line.count)

    def _sign_of_life(self, line: SyncLine) -> Synced:
        if self._staged is not None:
            raise BrokenStream("a sign of life within a snapshot")
        told = _cursor(line.cursor) if line.cursor else self._synced
        if not line.cursor and self._cursor != self._read_then:
            raise BrokenStream(f"a sign of life says that nothing happened since {told}, read up to {self._cursor}")
        digest, behind = line.digest, _is_behind(told, self._cursor)
        if behind:
            # Everything that the sender has was read, so a skipped line is no loss, and the cursor must not go back.
            digest, self._lacks = "", False
        elif self._lacks:
            self._cursor, self._lacks = told, False  # if a skipped line is missing, the digest shows it
        elif told != self._cursor and not self._part:
            # Every event up to there must have arrived; otherwise one was lost, whatever the digest.
            raise BrokenStream(f"a sign of life for {told}, read up to {self._cursor}")
        self._synced, self._read_then = told, self._cursor
        leases = None
        if line.late_after_s > 0:
            late = _heard(line.late)
            leases = LeaseReport(line.late_after_s, late, all_named=line.late_total <= len(late))
        return Synced(self._cursor, digest, line.state, line.store_age_s, line.unread, leases)

    # -- the reader's position

    def _start_at(self, cursor: Cursor) -> None:
        self._cursor = self._synced = self._read_then = cursor

    def _step(self, line: EventLine) -> tuple[Position, int | None] | None:
        """Advance to an event; return its position and its change to the digest, or None when it was read before."""
        if self._staged is not None:
            raise BrokenStream("an event within a snapshot")
        if not line.position:
            return self._step_of_version_1(line)
        position = self._stepped(_position(line.position))
        return None if position is None else (position, digest_number(line.change))

    def _step_of_version_1(self, line: EventLine) -> tuple[Position, int | None] | None:
        cursor = _cursor(line.cursor)
        moved = [p for p in cursor.positions if self._cursor.at(p.shard) != p]
        told, self._told = self._told, digest_number(line.digest)
        if not moved:
            return None
        if len(moved) > 1 and not self._part:
            raise BrokenStream(f"an event at {cursor}, read up to {self._cursor}")
        position = self._stepped(moved[0])
        if position is None:
            return None
        return position, None if told is None or self._told is None else told ^ self._told

    def _stepped(self, position: Position) -> Position | None:
        """Advance to `position`, the next one of its shard, and return it; None when it was read before.

        Raises BrokenStream when events before it are missing, or belong to another history.
        """
        before = self._cursor.at(position.shard)
        if before is None or before.epoch != position.epoch:
            if not self._lacks:
                raise BrokenStream(f"an event at {Cursor((position,))}, read up to {self._cursor}")
        elif position.revision <= before.revision:
            return None
        elif position.revision != before.revision + 1 and not self._part and not self._lacks:
            # A stream of one service has gaps: the events of the others.
            raise BrokenStream(f"events are missing between {self._cursor} and {Cursor((position,))}")
        self._cursor = self._cursor.moved_to(position)
        return position

    # -- lines of a later release, and unreadable ones

    def _otherwise(self, line: bytes, problem: str) -> Iterator[WatchChange]:
        try:
            known = msgspec.json.decode(line, type=AnyLine)
            raw: dict[str, Any] = msgspec.json.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            if not self._spoken:
                raise BrokenStream(f"this is not a watch: its first line cannot be read: {problem}") from None
            yield self._passed_over(f"a line cannot be read: {problem}")
            return
        self._spoken = True
        if known.type in WHOLES:
            yield from self._whole_with_foreign_values(known.type, raw)
        elif known.type == "packed":
            raise BrokenPacking("the length of packed lines cannot be read")
        elif known.type in _OTHERS:
            yield self._passed_over(f"a line of type {known.type!r} cannot be read: {problem}")
        elif known.type in EVENTS:
            try:
                change = self._change(event_with_foreign_values(known.type, raw))
            except (msgspec.MsgspecError, ValueError):
                change = self._unknown(known, f"an event {known.type!r} cannot be read: {problem}")
            if change is not None:
                yield change
        elif known.position:
            change = self._unknown(known, f"an event of type {known.type[:50]!r} is not known here")
            if change is not None:
                yield change

    def _unknown(self, line: AnyLine, problem: str) -> WatchChange | None:
        name = line.service_name
        if not name and line.instance is not None:
            name = str(line.instance.get("service_name", ""))
        if not line.position:
            return self._passed_over(problem)
        if self._staged is not None:
            raise BrokenStream("an event within a snapshot")
        position = self._stepped(_position(line.position))
        if position is None:
            return None
        return UnknownEvent(label_of(name), self._cursor, digest_number(line.change), problem[:_SHOWN])

    def _whole_with_foreign_values(self, kind: str, raw: dict[str, Any]) -> Iterator[WatchChange]:
        rows, raw["instances"] = raw.get("instances"), ()
        try:
            line: SnapshotLine | MovedLine = msgspec.convert(raw, WHOLES[kind])
        except msgspec.MsgspecError as error:
            yield self._passed_over(f"a line of type {kind!r} cannot be read: {unreadable(error)}")
            return
        records, problem = [], ""
        for row in rows if isinstance(rows, list) else ():
            try:
                records.append(Lived(record_of(row["instance"]), float(row["heartbeat_at"])))
            except (msgspec.MsgspecError, ValueError, TypeError, KeyError) as error:
                problem = f"an instance in a line of type {kind!r} cannot be read: {unreadable(error)}"
        line.instances = tuple(records)
        if problem:
            yield PassedOver(problem[:_SHOWN])
        change = (
            self._part_of_snapshot(line, whole=not problem) if isinstance(line, SnapshotLine) else self._change(line)
        )
        if change is not None:
            yield change


def _heard(rows: tuple[Heartbeat, ...]) -> dict[InstanceKey, float]:
    return {InstanceKey(label_of(name), instance_id): at for name, instance_id, at in rows}


def _is_behind(told: Cursor, read: Cursor) -> bool:
    """Return whether a replica at `told` is behind what was `read`, in the same histories."""
    return told != read and read.covers(told) and len(told.positions) == len(read.positions)


def _cursor(text: str) -> Cursor:
    try:
        return parse_cursor(text)
    except ValidationError as error:
        raise BrokenStream(f"a cursor cannot be read: {error.message}") from None


def _position(text: str) -> Position:
    position = parse_position(text)
    if position is None:
        raise BrokenStream(f"an event has one position, not {text[:100]!r}")
    return position


def _key(line: StatusChangedLine | DeregisteredLine | ExpiredLine) -> InstanceKey:
    return InstanceKey(label_of(line.service_name), line.instance_id)
