"""The folder of an audit log: segments of JSON lines, the hashes of the tree over all lines ever, heads, and the key.

    key.pem key.pub                   the log's key
    000000000000000-20260131.jsonl    a segment: the number of its first line, and the day of its lines
    tree                              the stored hashes (merkle.py), also of lines that were removed
    head, head.countersigned          the latest head, and the latest that other replicas have signed

Lines are numbered from 0. One process writes; anybody may read at any time. Everything here blocks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple, Self

from registry_core.security.audit.heads import BadHead, SignedHead, parse_head
from registry_core.security.audit.merkle import HASH_BYTES
from registry_core.security.audit.notes import MAX_NOTE_BYTES

TREE_FILE: Final = "tree"
HEAD_FILE: Final = "head"
COUNTERSIGNED_FILE: Final = "head.countersigned"
LOCK_FILE: Final = "lock"
WITNESSED_FOLDER: Final = "witnessed"
MAX_LINE_BYTES: Final = 16 * 1024
_SEGMENT: Final = re.compile(r"(\d{15})-(\d{8})\.jsonl", re.ASCII)
_CHUNK: Final = 1024 * 1024


class BrokenLog(OSError):
    """Raised when the files of a log do not fit together; its text says which and how."""

    def __init__(self, because: str) -> None:
        super().__init__(None, because)


class AuditSegment(NamedTuple):
    """One file of lines: the number of its first line, and the day (UTC, YYYYMMDD) on which they were written."""

    first: int
    day: str

    @property
    def name(self) -> str:
        return f"{self.first:015d}-{self.day}.jsonl"


class NumberedLine(NamedTuple):
    """A line without its end, and its number."""

    number: int
    line: bytes


def segments_in(folder: Path) -> list[AuditSegment]:
    """Return the segments, the oldest first. Raises OSError."""
    matches = (_SEGMENT.fullmatch(entry.name) for entry in os.scandir(folder))
    return sorted(AuditSegment(int(match[1]), match[2]) for match in matches if match is not None)


def lines_of(path: Path, skipped: int = 0) -> Iterator[bytes]:
    """Yield the complete lines of a segment, without their ends and without the first ones.

    Raises OSError, and BrokenLog for a line without end.
    """
    with path.open("rb") as file:
        _after(file, skipped)
        while raw := file.readline(MAX_LINE_BYTES + 1):
            if not raw.endswith(b"\n"):
                if len(raw) > MAX_LINE_BYTES:
                    raise BrokenLog(f"{path.name}: a line has more than {MAX_LINE_BYTES} bytes")
                return
            yield raw[:-1]


def lines_from(folder: Path, start: int) -> Iterator[NumberedLine]:
    """Yield the lines from number `start` on, or from the first that is there. Raises OSError.

    Where lines are missing between two segments, their numbers are.
    """
    segments = segments_in(folder)
    for segment, following in zip(segments, [*segments, None][1:], strict=True):
        if following is not None and following.first <= start:
            continue
        skipped = max(0, start - segment.first)
        lines = lines_of(folder / segment.name, skipped)
        yield from (NumberedLine(segment.first + at, line) for at, line in enumerate(lines, skipped))


def _after(file: BinaryIO, lines: int) -> None:
    """Move a file from its start behind so many lines, or to its end."""
    while lines > 0 and (chunk := file.read(_CHUNK)):
        count = chunk.count(b"\n")
        if count < lines:
            lines -= count
            continue
        at = 0
        for _ in range(lines):
            at = chunk.index(b"\n", at) + 1
        file.seek(at - len(chunk), os.SEEK_CUR)
        return


def ends_of(path: Path) -> tuple[int, int]:
    """Return how many complete lines a segment has, and how many bytes they are. Raises OSError."""
    lines = complete = seen = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            count = chunk.count(b"\n")
            if count:
                lines += count
                complete = seen + chunk.rindex(b"\n") + 1
            seen += len(chunk)
    return lines, complete


class TreeFile:
    """The stored hashes, for reading, in a `with` block."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / TREE_FILE
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Open it. Raises OSError."""
        self._descriptor = os.open(self._path, os.O_RDONLY)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._descriptor)

    @property
    def count(self) -> int:
        """How many complete hashes it has."""
        return os.fstat(self._descriptor).st_size // HASH_BYTES

    def read(self, position: int) -> bytes:
        """Return the hash at a position. Raises BrokenLog when it is not there."""
        raw = os.pread(self._descriptor, HASH_BYTES, position * HASH_BYTES)
        if len(raw) != HASH_BYTES:
            raise BrokenLog(f"{TREE_FILE}: hash {position} is missing: the file was cut short")
        return raw


def head_in(folder: Path, name: str = HEAD_FILE) -> SignedHead | None:
    """Return a head that is kept in `folder`, or None when there is none. Raises OSError and BrokenLog."""
    path = folder / name
    try:
        with path.open("rb") as file:
            text = file.read(MAX_NOTE_BYTES + 1).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    try:
        return parse_head(text)
    except BadHead as error:
        raise BrokenLog(f"{path.name}: {error}") from None
