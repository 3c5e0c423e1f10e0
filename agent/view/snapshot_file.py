"""Encodes the view as a file, which an agent answers from when it starts without a registry. Pure.

One header line of JSON, then one line for each instance. All of it is checked before any of it is used: length,
checksum and every record. Raises BadViewSnapshot, with the reason, when a check fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec

from agent.view.kept_records import checked_records
from registry_core.content_faults import unreadable
from registry_core.domain.catalog import Lived, share
from registry_core.domain.foreign_values import record_of
from registry_core.domain.restoration import MAX_REGISTERED_AT
from registry_core.errors import ValidationError, VerticeError
from registry_core.watch.cursor import Cursor, parse_cursor

FORMAT: Final = "vertice-agent-snapshot"
VERSION: Final = 1
# About a million instances; no agent writes more.
MAX_BYTES: Final = 512 * 1024 * 1024
# Instances encoded per step, in a thread; lookups are answered between two steps.
_STEP: Final = 200
# Bytes decoded per step: their duplicate strings are freed before the next step.
_STEP_BYTES: Final = 64 * 1024
_ENCODER: Final = msgspec.json.Encoder()
_LIVED: Final = msgspec.json.Decoder(Lived)


class BadViewSnapshot(VerticeError):
    """Raised when bytes are not an intact snapshot of this version; its text is one line."""


class ViewSnapshot(msgspec.Struct, frozen=True):
    """The view of an agent, and when the registry last confirmed it."""

    instances: tuple[Lived, ...]
    cursor: Cursor
    digest: str  # of the catalogue of these instances
    confirmed_at: float  # when the registry last confirmed it: Unix seconds, by the agent's clock
    left_out: int = 0  # records that no registry can have sent
    problem: str = ""  # of the first of these


class _ViewSnapshotHeader(msgspec.Struct, kw_only=True):
    format: str
    version: int
    count: int
    bytes: int  # below the header
    checksum: str  # of the bytes below the header
    cursor: str
    digest: str
    confirmed_at: float


class _Kind(msgspec.Struct):
    """The fields that identify a snapshot of any version."""

    format: str = ""
    version: int = 0


def encode(snapshot: ViewSnapshot) -> Iterator[bytes]:
    """Yield the file of `snapshot` in parts, the header first."""
    parts = list(_lines(snapshot.instances))
    header = _ViewSnapshotHeader(
        format=FORMAT,
        version=VERSION,
        count=len(snapshot.instances),
        bytes=sum(map(len, parts)),
        checksum=checksum_of(parts),
        cursor=str(snapshot.cursor),
        digest=snapshot.digest,
        confirmed_at=snapshot.confirmed_at,
    )
    yield _ENCODER.encode(header) + b"\n"
    yield from parts


def _lines(instances: Iterable[Lived]) -> Iterator[bytes]:
    rest = iter(instances)
    while step := list(islice(rest, _STEP)):
        yield _ENCODER.encode_lines(step)


def checksum_of(parts: Iterable[bytes]) -> str:
    """Return the checksum of the bytes below the header."""
    checksum = hashlib.blake2b(digest_size=16)
    for part in parts:
        checksum.update(part)
    return checksum.hexdigest()


def decode(data: bytes) -> ViewSnapshot:
    """Return the snapshot in `data`. Raises BadViewSnapshot."""
    if len(data) > MAX_BYTES:
        raise BadViewSnapshot(f"it has more than {MAX_BYTES} bytes")
    first, _, body = data.partition(b"\n")
    header = _header(first)
    if len(body) != header.bytes:
        raise BadViewSnapshot(f"{header.bytes} bytes should follow its first line, but {len(body)} do: it is truncated")
    if checksum_of([body]) != header.checksum:
        raise BadViewSnapshot("its checksum does not match: it was changed after it was written")
    try:
        instances, left_out, problem = checked_records(_records(body))
        cursor = parse_cursor(header.cursor)
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, RecursionError, ValidationError) as error:
        raise BadViewSnapshot(f"its content cannot be read: {unreadable(error)}") from None
    if len(instances) + left_out != header.count:
        raise BadViewSnapshot(f"it should hold {header.count} instances, but holds {len(instances) + left_out}")
    if not 0.0 <= header.confirmed_at <= MAX_REGISTERED_AT:
        raise BadViewSnapshot("the time of its last confirmation is not in Unix seconds")
    return ViewSnapshot(instances, cursor, header.digest, header.confirmed_at, left_out, problem)


def _records(body: bytes) -> Iterator[Lived]:
    start = 0
    while start < len(body):
        end = body.find(b"\n", start + _STEP_BYTES) + 1 or len(body)
        for lived in _lived_in(body[start:end]):
            share(lived.instance)
            yield lived
        start = end


def _lived_in(lines: bytes) -> list[Lived]:
    try:
        return _LIVED.decode_lines(lines)
    except msgspec.ValidationError:
        # A registry of a later release may have sent a status or protocol that this agent does not know.
        rows = map(msgspec.json.decode, lines.splitlines())
        return [Lived(record_of(row["instance"]), float(row["heartbeat_at"])) for row in rows]


def _header(line: bytes) -> _ViewSnapshotHeader:
    try:
        kind = msgspec.json.decode(line, type=_Kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        kind = _Kind()
    if kind.format != FORMAT:
        raise BadViewSnapshot("it is not a snapshot of an agent")
    if kind.version != VERSION:
        raise BadViewSnapshot(f"it has version {kind.version}, but this agent supports version {VERSION}")
    try:
        return msgspec.json.decode(line, type=_ViewSnapshotHeader)
    except msgspec.MsgspecError as error:
        raise BadViewSnapshot(f"its first line cannot be read: {unreadable(error)}") from None
