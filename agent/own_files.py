"""Reads back what this program wrote: regular files of its own user that nobody else may change, and not through links.

A file that others can write is their input: an id or an epoch from it would be claimed in our name.
Everything here blocks: it is called from threads.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

_WRITABLE_FOR_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


class NotOurs(OSError):
    """Raised when a file or folder cannot be trusted. Its text says why, and how to mend that."""

    def __init__(self, because: str) -> None:
        super().__init__(errno.EPERM, because)


def open_own(path: Path, flags: int = os.O_RDONLY) -> int:
    """Return a descriptor of `path`, which must be a file of our own; the caller closes it.

    Never waits for the other end of a pipe. Raises OSError, with the reason and the cure.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotOurs(f"it is a symbolic link, which is not followed; remove it: rm {path}") from None
        raise
    problem = file_problem(os.fstat(descriptor), os.geteuid(), path)
    if problem:
        os.close(descriptor)
        raise NotOurs(problem)
    return descriptor


def read_own(path: Path, most: int) -> bytes:
    """Return the content of `path`, a file of our own; of a larger one, `most` + 1 bytes. Raises OSError."""
    with os.fdopen(open_own(path), "rb") as file:
        return file.read(most + 1)


def file_problem(info: os.stat_result, user: int, path: Path) -> str:
    """Return why a file cannot be trusted by `user`, with the cure; empty if it can."""
    if not stat.S_ISREG(info.st_mode):
        return f"it is not a regular file; remove it: rm {path}"
    if info.st_uid != user:
        return f"it belongs to user {info.st_uid}, and this agent runs as user {user}: chown {user} {path}"
    if info.st_mode & _WRITABLE_FOR_OTHERS:
        return f"other users may write to it: chmod go-w {path}"
    return ""


def folder_problem(info: os.stat_result, user: int, path: Path) -> str:
    """Return why a folder cannot be trusted by `user`, with the cure; empty if it can."""
    if not stat.S_ISDIR(info.st_mode):
        return "it is not a folder"
    below = f"or name a folder below it ({path}/agent), which the agent creates for itself"
    if info.st_uid != user:
        return f"it belongs to user {info.st_uid}, and this agent runs as user {user}: chown {user} {path}, {below}"
    if info.st_mode & stat.S_IWOTH:
        return f"every user may write to it: chmod o-w {path}, {below}"
    return ""
