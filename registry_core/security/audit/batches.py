"""What the thread of an audit log does: opens the log, and writes a batch of entries. Everything here blocks."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

import msgspec

from registry_core.ports.audit import AuditEntry
from registry_core.security.audit.folder import COUNTERSIGNED_FILE, WITNESSED_FOLDER, BrokenLog, head_in
from registry_core.security.audit.heads import SignedHead
from registry_core.security.audit.key import signer_in
from registry_core.security.audit.lines import REMOVED, CountedEntry, about_log, day_of, line_of
from registry_core.security.audit.notes import NoteSigner
from registry_core.security.audit.origins import ORIGIN_PREFIX, drawn_name, origin_of
from registry_core.security.audit.settings import DAY_S, NAME, AuditSettings
from registry_core.security.audit.writing import LogEnd, OldSegment, appended, due_for_removal, opened

_OURS_ALONE: Final = 0o700


class LogHandle(msgspec.Struct, frozen=True):
    """An open log."""

    signer: NoteSigner
    replica: str  # its name in the lines
    lock: int  # a descriptor, open for as long as the log is
    end: LogEnd  # when it was opened
    countersigned: SignedHead | None
    mended: tuple[str, ...]


def open_log(settings: AuditSettings, drawn: str) -> LogHandle:
    """Open the log in the folder of `settings`, or begin one. `drawn` is the random part of a name, where none is set.

    Raises OSError.
    """
    folder = settings.folder
    assert folder is not None  # without one there is no log
    folder.mkdir(_OURS_ALONE, parents=True, exist_ok=True)
    (folder / WITNESSED_FOLDER).mkdir(_OURS_ALONE, exist_ok=True)
    signer = signer_in(folder, origin_of(settings.name or drawn_name(socket.gethostname(), drawn)))
    origin = signer.verifier.name
    if settings.name and origin != origin_of(settings.name):
        raise BrokenLog(f"{folder}: this is the log {origin}, and {NAME.name} is {settings.name}: each has its folder")
    log = opened(folder, signer)
    countersigned = head_in(folder, COUNTERSIGNED_FILE)
    return LogHandle(signer, origin.removeprefix(ORIGIN_PREFIX), log.lock, log.end, countersigned, log.mended)


def write_batch(
    settings: AuditSettings, handle: LogHandle, end: LogEnd, entries: Sequence[AuditEntry | CountedEntry], now: float
) -> LogEnd:
    """Write entries behind `end`, and return the new end; `now` is in Unix seconds. Raises OSError."""
    folder = settings.folder
    assert folder is not None  # without one there is no log
    return appended(
        folder,
        handle.signer,
        end,
        [line_of(entry, handle.replica) for entry in entries],
        day=day_of(now),
        segment_bytes=settings.segment_bytes,
        syncs=settings.syncs,
    )


def removals_due(settings: AuditSettings, now: float) -> list[OldSegment]:
    """Return the segments whose lines have been kept for as long as they are to be. Raises OSError."""
    folder = settings.folder
    assert folder is not None  # without one there is no log
    return due_for_removal(folder, day_of(now - settings.keep_days * DAY_S))


def remove_segments(settings: AuditSettings, segments: Sequence[OldSegment]) -> None:
    """Remove segments; the hashes of their lines stay. Raises OSError."""
    folder = settings.folder
    assert folder is not None  # without one there is no log
    for old in segments:
        (folder / old.segment.name).unlink(missing_ok=True)


def about_removal(old: OldSegment, now: float) -> AuditEntry:
    """Return the entry that a segment gets before it is removed."""
    return about_log(REMOVED, now, f"lines {old.segment.first} to {old.behind - 1}, of {old.segment.day}")
