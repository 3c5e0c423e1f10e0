"""Examines AGENT_STATE_DIR without touching it: creates no file and tries no lock.

The lock's holder comes from /proc/locks: taking the lock, even for a moment, could make a starting agent fail.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from agent.view.state_dir import LOCK, SET_ASIDE
from cli.doctor.facts import StateDirFacts
from registry_core.causes import cause_of

LOCKS: Final = Path("/proc/locks")


def look_at(path: Path, locks: Path = LOCKS) -> StateDirFacts:
    """Return the state of the folder at `path`. Blocks for as long as the disk does."""
    user = os.geteuid()
    try:
        info = path.stat()
    except FileNotFoundError:
        parent = next(one for one in path.absolute().parents if one.exists())
        can_be_made = parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)
        return StateDirFacts(path=str(path), exists=False, can_be_made=can_be_made, user=user, free_bytes=_free(parent))
    except OSError as error:
        return StateDirFacts(path=str(path), problem=cause_of(error), user=user)
    if not stat.S_ISDIR(info.st_mode):
        return StateDirFacts(path=str(path), is_folder=False, user=user)
    return StateDirFacts(
        path=str(path),
        writable=os.access(path, os.W_OK | os.X_OK) and _may_write(path / LOCK),
        open_to_all=bool(info.st_mode & stat.S_IWOTH),
        owner=info.st_uid,
        user=user,
        free_bytes=_free(path),
        locked_by=_holder(path / LOCK, locks),
        has_damaged_snapshot=(path / SET_ASIDE).exists(),
    )


def _may_write(file: Path) -> bool:
    return not file.exists() or os.access(file, os.W_OK)


def _free(path: Path) -> int:
    space = os.statvfs(path)
    return space.f_bavail * space.f_frsize


def _holder(lock: Path, locks: Path) -> str:
    """Return the lock's holder, or "". Processes in other PID namespaces are not visible."""
    try:
        info = lock.stat()
        lines = locks.read_text().splitlines()
    except OSError:
        return ""
    # proc(5): `1: FLOCK  ADVISORY  WRITE 2136 fd:01:3412 0 EOF`
    wanted = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    for line in lines:
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == wanted:
            return f"the process {words[4]}"
    return ""
