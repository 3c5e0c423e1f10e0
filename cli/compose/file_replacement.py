"""Reads a file and replaces it as a whole: what stands there is all of the old one or all of the new one.

For files that belong to others: mode and owner stay, a symbolic link stays one, and what somebody else wrote in the
meantime is never overwritten. Everything here blocks.
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
    """Raised when a file is no longer what was read, so that replacing it would lose somebody's work."""


class OriginalFile(msgspec.Struct, frozen=True):
    """A file as it was read: where it really is, its bytes, and how it is to be made again. None: there was none."""

    path: Path
    data: bytes | None
    mode: int
    owner: tuple[int, int] | None


def held(path: Path, most_bytes: int) -> OriginalFile:
    """Return what is at `path`, a symbolic link followed. Raises OSError, also for what is no file, or too large."""
    path = path.resolve()
    try:
        # Without O_NONBLOCK a pipe under that name would be waited for.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError("it exists and is not a file")
            data = file.read(most_bytes + 1)
    except FileNotFoundError:
        return OriginalFile(path, None, 0o666 & ~_umask(), None)
    if len(data) > most_bytes:
        raise OSError(f"it has more than {most_bytes // 1024 // 1024} MB")
    return OriginalFile(path, data, stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid))


def replace(before: OriginalFile, data: bytes) -> None:
    """Put `data` in the place of what was read. When that fails, what is there stays as it is.

    Raises Changed when the file is another one by now, and OSError.
    """

    def prepare(descriptor: int) -> None:
        if before.owner is not None:
            with contextlib.suppress(PermissionError):  # who may not give it away keeps it for himself
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
    # There is no way to ask that does not set it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
