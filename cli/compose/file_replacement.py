"""Reads a file and replaces it atomically: the path always holds all of the old file or all of the new one.

For files owned by the user: mode and owner are kept, a symbolic link stays a link, and a file that changed in the
meantime is never overwritten. All functions block.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import msgspec

from agent.files import replace_file
from registry_core.errors import CallerError


class Changed(CallerError):
    """Raised when a file has changed since it was read, so that replacing it would lose those changes."""


class OriginalFile(msgspec.Struct, frozen=True):
    """A file as it was read: its real path, its bytes, and the attributes to restore. None: it did not exist."""

    path: Path
    data: bytes | None
    mode: int
    owner: tuple[int, int] | None


def held(path: Path, most_bytes: int) -> OriginalFile:
    """Return the file at `path`, following a symbolic link. Raises OSError, also if it is not a file or too large."""
    path = path.resolve()
    try:
        # Without O_NONBLOCK, opening a pipe of that name would block.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(None, "it exists and is not a file")
            data = file.read(most_bytes + 1)
    except FileNotFoundError:
        return OriginalFile(path, None, 0o666 & ~_umask(), None)
    except IsADirectoryError as error:
        error.filename = str(path)  # Python names it by the number of the open file
        raise
    if len(data) > most_bytes:
        raise OSError(None, f"it has more than {most_bytes // 1024 // 1024} MB")
    return OriginalFile(path, data, stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid))


def replace(before: OriginalFile, data: bytes) -> None:
    """Replace the file that was read by `data`. On failure, the file stays as it is.

    Raises Changed when the file has changed since, and OSError.
    """

    def prepare(descriptor: int) -> None:
        if before.owner is not None:
            with contextlib.suppress(PermissionError):  # without the right to change the owner, it stays the user's
                os.fchown(descriptor, *before.owner)
        os.fchmod(descriptor, before.mode)

    replace_file(before.path, [data], prepare=prepare, check=lambda: _check_unchanged(before))


def _check_unchanged(before: OriginalFile) -> None:
    try:
        now = before.path.read_bytes()
    except FileNotFoundError:
        now = None
    if now != before.data:
        raise Changed("it was changed in the meantime; nothing was written; run the command again")


def _umask() -> int:
    # The umask can only be read by setting it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
