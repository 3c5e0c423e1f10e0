"""A snapshot on disk: one header line, then one JSON line per instance. This module makes no requests.

People and `jq` can read it; no record is used before the whole file is checked. The checksum is the
SHA-256 of the header line with an empty checksum, and of every line below.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from agent.files import replace_file
from registry_core.api.request_bodies import decode
from registry_core.api.schemas import RestoreBody
from registry_core.domain.records import Instance, complete, copied_as
from registry_core.domain.registration import Rules
from registry_core.domain.restoration import checked_record, what
from registry_core.errors import ValidationError, VerticeError

FORMAT: Final = "vertice-snapshot"
VERSION: Final = 1
MAX_FILE_BYTES: Final = 512 * 1024 * 1024
# A registered record fits into a request of 64 KiB; a larger one cannot be ours.
MAX_LINE_BYTES: Final = 128 * 1024
_CHECKSUM_KIND: Final = "sha256:"
# The target registry decides which ports it accepts.
_RULES: Final = Rules(min_port=1)
_ENCODER: Final = msgspec.json.Encoder()


class BadSnapshotFile(VerticeError):
    """Raised when a file is not a complete, unaltered snapshot; its text is one line."""


class SnapshotFileHeader(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The first line."""

    format: str = FORMAT
    version: int = VERSION
    count: int
    saved_at: str  # ISO 8601, UTC
    source: str  # the registry's URL
    store_age_s: float | None  # how long before saving the store had confirmed it
    cursor: str
    digest: str  # of the catalogue, as in the watch stream
    checksum: str = ""


@complete
class SnapshotFileRecord(Instance, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line below the header: the record to restore, and its former state for people."""

    last_heartbeat: float
    ttl_remaining: int

    @property
    def instance(self) -> Instance:
        """The record as it is restored."""
        return copied_as(self.body, Instance)

    @property
    def body(self) -> RestoreBody:
        """The body of the request that restores it."""
        return copied_as(self, RestoreBody)


class SnapshotFile(NamedTuple):
    """The content of a file."""

    header: SnapshotFileHeader
    records: list[SnapshotFileRecord]


class _Format(msgspec.Struct):
    """Distinguishes a snapshot of any version from other files."""

    format: str = ""
    version: int = 0


def encoded(header: SnapshotFileHeader, records: Sequence[SnapshotFileRecord]) -> list[bytes]:
    """Return the lines of a snapshot, each with its line end."""
    lines = [_ENCODER.encode(record) for record in records]
    header = msgspec.structs.replace(header, count=len(lines), checksum="")
    header = msgspec.structs.replace(header, checksum=_checksum(header, lines))
    return [line + b"\n" for line in (_ENCODER.encode(header), *lines)]


def write(path: Path, header: SnapshotFileHeader, records: Sequence[SnapshotFileRecord]) -> None:
    """Write a snapshot to `path` atomically, readable by its owner only.

    Raises OSError, also when `path` exists and is not a file (a device, a pipe). A symbolic link is followed.
    """
    path = path.resolve()
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise OSError(None, "it exists and is not a file")
    replace_file(path, encoded(header, records))


def read(path: Path) -> SnapshotFile:
    """Return the content of `path` once all of it is checked. Raises BadSnapshotFile and OSError."""
    if not path.is_file():
        raise OSError(None, "there is no such file" if not path.exists() else "it is not a file")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise BadSnapshotFile(f"{path}: it has {size} bytes; a snapshot has at most {MAX_FILE_BYTES}")
    return decoded(str(path), path.read_bytes())


def decoded(name: str, data: bytes) -> SnapshotFile:
    """Return the content of a snapshot once all of it is checked. Raises BadSnapshotFile, which names it `name`."""
    try:
        return _read(data)
    except BadSnapshotFile as error:
        raise BadSnapshotFile(f"{name}: {error}") from None


def _read(data: bytes) -> SnapshotFile:
    first, *lines = data.split(b"\n")
    header = _header(first)
    ended = lines[-1:] == [b""]
    lines = lines[:-1] if ended else lines
    if len(lines) != header.count or not ended:
        cut = "it was cut short" if len(lines) <= header.count else "something was added"
        raise BadSnapshotFile(f"line 1: count: {header.count} lines should follow, {len(lines)} do: {cut}")
    records: list[SnapshotFileRecord] = []
    seen: dict[tuple[str, str], int] = {}
    names: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(lines, start=2):
        record = _record(number, line)
        key = record.instance.key
        earlier = seen.setdefault((key.label, key.instance_id), number)
        if earlier != number:
            raise BadSnapshotFile(f"line {number}: instance_id: {what(record.instance)} is already in line {earlier}")
        name, at = names.setdefault(key.label, (record.service_name, number))
        if name != record.service_name:
            raise BadSnapshotFile(
                f"line {number}: service_name: {record.service_name!r} and {name!r} of line {at} are one name in DNS"
            )
        records.append(record)
    if header.checksum != _checksum(msgspec.structs.replace(header, checksum=""), lines):
        raise BadSnapshotFile("line 1: checksum: it does not match: the file was changed after it was saved")
    return SnapshotFile(header, records)


def _header(line: bytes) -> SnapshotFileHeader:
    try:
        known = msgspec.json.decode(line[:MAX_LINE_BYTES], type=_Format)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        known = _Format()
    if known.format != FORMAT:
        raise BadSnapshotFile(f"line 1: format: it is not a snapshot of a registry (example: {FORMAT})")
    if known.version != VERSION:
        raise BadSnapshotFile(f"line 1: version: {known.version} is not known to this program (example: {VERSION})")
    try:
        return decode(line, SnapshotFileHeader)
    except ValidationError as error:
        raise _bad(1, error) from None


def _record(number: int, line: bytes) -> SnapshotFileRecord:
    if len(line) > MAX_LINE_BYTES:
        raise BadSnapshotFile(f"line {number}: it has {len(line)} bytes; a record has at most {MAX_LINE_BYTES}")
    try:
        record = decode(line, SnapshotFileRecord)
        checked_record(record.instance, _RULES)
    except ValidationError as error:
        raise _bad(number, error) from None
    return record


def _bad(number: int, error: ValidationError) -> BadSnapshotFile:
    if error.field in (None, "body"):
        return BadSnapshotFile(f"line {number}: it is not a JSON object of this kind")
    found = "" if error.provided is None else f", not {str(error.provided)[:60]!r}"
    example = "" if error.example is None else f" (example: {error.example})"
    return BadSnapshotFile(f"line {number}: {error.field}: {error.message}{found}{example}")


def _checksum(header: SnapshotFileHeader, lines: Sequence[bytes]) -> str:
    checksum = hashlib.sha256(_ENCODER.encode(header) + b"\n")
    for line in lines:
        checksum.update(line + b"\n")
    return _CHECKSUM_KIND + checksum.hexdigest()
