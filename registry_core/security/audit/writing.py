"""Writes an audit log to its folder: opens it, mends what a crash left, appends lines, and removes old segments.

A batch of lines is written in this order: the lines, their hashes, the head. A crash or a full disk in between leaves
too much, never too little: the next batch first cuts back to where the last complete one ended. Everything here
blocks, and only one call at a time may run.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from registry_core.security.audit.folder import (
    HEAD_FILE,
    LOCK_FILE,
    TREE_FILE,
    AuditSegment,
    BrokenLog,
    TreeFile,
    ends_of,
    head_in,
    lines_from,
    segments_in,
)
from registry_core.security.audit.heads import SignedHead, signed_head
from registry_core.security.audit.merkle import HASH_BYTES, Frontier, leaf_hash, root, stored_count, stored_size
from registry_core.security.audit.notes import NoteSigner

_TEMPORARY: Final = ".new"
_READABLE_BY_US: Final = 0o600


class LogEnd(msgspec.Struct, frozen=True):
    """Where a log ends: what the next batch continues. `frontier` is never changed, only copied."""

    frontier: Frontier
    segment: AuditSegment | None
    segment_bytes: int
    head: SignedHead


class OldSegment(msgspec.Struct, frozen=True):
    """A segment, and the number after its last line."""

    segment: AuditSegment
    behind: int


class OpenedLog(msgspec.Struct, frozen=True):
    """A log that was opened for writing, and what had to be mended."""

    end: LogEnd
    lock: int  # a descriptor, open for as long as the log is
    mended: tuple[str, ...]


def opened(folder: Path, signer: NoteSigner) -> OpenedLog:
    """Open the log in `folder` for writing; it has a key already.

    Raises OSError, and BrokenLog when it cannot be continued without contradicting its own last head.
    """
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _READABLE_BY_US)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BrokenLog(f"{folder}: another registry writes this log: each needs a folder of its own") from None
        end, mended = _mended(folder, signer)
    except BaseException:
        os.close(lock)
        raise
    return OpenedLog(end, lock, mended)


def appended(
    folder: Path,
    signer: NoteSigner,
    end: LogEnd,
    lines: Sequence[bytes],
    *,
    day: str,
    segment_bytes: int,
    syncs: bool,
) -> LogEnd:
    """Append `lines`, which have no line ends, and sign a head over them. Return the new end.

    `day` is today (UTC, YYYYMMDD); a segment ends with its day, or when it has `segment_bytes`. With `syncs`, the lines
    are on disk before a head is signed over them; hashes that a power failure loses are made of them again. Raises
    OSError; the old end is then still valid.
    """
    frontier = end.frontier.copy()
    segment, length = end.segment, end.segment_bytes
    is_new = segment is None or segment.day != day or length >= segment_bytes
    if segment is not None and is_new:
        _write(_at(folder, segment.name), length, b"", syncs=False)  # cuts off what a failed batch left there
    if segment is None or is_new:
        segment, length = AuditSegment(frontier.size, day), 0
    data = b"".join(line + b"\n" for line in lines)
    hashes = b"".join(one for line in lines for one in frontier.append(leaf_hash(line)))
    try:
        _write(_at(folder, segment.name), length, data, syncs=syncs)
        # Once a segment is enough: the lines of the latest one make up for lost hashes.
        _write(_at(folder, TREE_FILE), stored_count(end.frontier.size) * HASH_BYTES, hashes, syncs=syncs and is_new)
        if syncs and is_new:
            _sync_folder(folder)
        head = signed_head(signer, frontier.size, frontier.root)
        keep_head(folder, HEAD_FILE, head)
    except OSError:
        if is_new:  # the next try may be on another day, and begin a file of another name
            (folder / segment.name).unlink(missing_ok=True)
        raise
    return LogEnd(frontier, segment, length + len(data), head)


def keep_head(folder: Path, name: str, head: SignedHead) -> None:
    """Replace the kept head of that name: a reader sees the old or the new one. Raises OSError."""
    path = _at(folder, name)
    descriptor = os.open(f"{path}{_TEMPORARY}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _READABLE_BY_US)
    try:
        data = str(head).encode()
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)
    os.replace(f"{path}{_TEMPORARY}", path)  # noqa: PTH105 - five times a second: a Path takes as long as the call


def due_for_removal(folder: Path, before_day: str) -> list[OldSegment]:
    """Return the segments of days before `before_day`, but never the last one. Raises OSError."""
    pairs = pairwise(segments_in(folder))
    return [OldSegment(segment, following.first) for segment, following in pairs if segment.day < before_day]


def _mended(folder: Path, signer: NoteSigner) -> tuple[LogEnd, tuple[str, ...]]:
    mended: list[str] = []
    segments = segments_in(folder)
    last = segments[-1] if segments else None
    lines, length = 0, 0
    if last is not None:
        count, length = ends_of(folder / last.name)
        lines = last.first + count
        cut = (folder / last.name).stat().st_size - length
        if cut:
            os.truncate(folder / last.name, length)
            mended.append(f"{cut} bytes of a half-written line {lines} were removed")
    frontier = _frontier(folder, lines, mended)
    if frontier.size > lines and last is not None:
        # The next line gets the number that its hash has: what is missing stays missing, for all to see.
        mended.append(f"lines {lines} to {frontier.size - 1} are missing: their hashes are in the tree")
        last = None
    head = _head(folder, signer, frontier)
    return LogEnd(frontier, last, length if last is not None else 0, head), tuple(mended)


def _frontier(folder: Path, lines: int, mended: list[str]) -> Frontier:
    """Return the frontier of the tree, after appending the hashes of lines that were written but not hashed."""
    path = folder / TREE_FILE
    path.touch(_READABLE_BY_US)
    with TreeFile(folder) as tree:
        size = stored_size(tree.count)
        frontier = Frontier.stored(size, tree.read)
    if size < lines:
        hashes: list[bytes] = []
        for number, line in lines_from(folder, size):
            if number != frontier.size:
                break
            hashes += frontier.append(leaf_hash(line))
        if frontier.size != lines:
            raise BrokenLog(f"{TREE_FILE}: the hashes from line {frontier.size} on are missing, and so are the lines")
        _write(_at(folder, TREE_FILE), stored_count(size) * HASH_BYTES, b"".join(hashes), syncs=True)
        mended.append(f"the hashes of lines {size} to {lines - 1} were missing and were made again")
    return frontier


def _head(folder: Path, signer: NoteSigner, frontier: Frontier) -> SignedHead:
    """Return the head of the log as it is. Raises BrokenLog when the last one says something else."""
    known = head_in(folder)
    if known is not None:
        if not known.is_signed_by(signer.verifier):
            raise BrokenLog(f"{HEAD_FILE}: it is not signed by this log's key, {signer.verifier}")
        if known.head.size > frontier.size:
            raise BrokenLog(
                f"the log has {frontier.size} lines and its last head says {known.head.size}: it was cut short, or an "
                "older copy was restored"
            )
        with TreeFile(folder) as tree:
            if root(known.head.size, tree.read) != known.head.root:
                raise BrokenLog(f"{TREE_FILE}: it is not the one that the last head was signed over")
        if known.head.size == frontier.size:
            return known
    return signed_head(signer, frontier.size, frontier.root)


def _at(folder: Path, name: str) -> str:
    return f"{folder}/{name}"


def _write(path: str, at: int, data: bytes, *, syncs: bool) -> None:
    """Write `data` at `at`, the end of what is valid; what a failed write left behind it is cut off first."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _READABLE_BY_US)
    try:
        length = os.fstat(descriptor).st_size
        if length < at:
            raise BrokenLog(f"{path.rpartition('/')[2]}: it has {length} bytes instead of {at}: it was cut short")
        if length > at:
            os.ftruncate(descriptor, at)
        left = memoryview(data)
        while left:
            written = os.pwrite(descriptor, left, at)
            at, left = at + written, left[written:]
        if syncs:
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
