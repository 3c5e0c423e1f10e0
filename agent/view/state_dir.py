"""AGENT_STATE_DIR: what an agent keeps across restarts. One agent uses it at a time.

It holds the snapshot of the view, the ids of the instances, the latest epoch, and which registries take signatures. An
agent runs without a usable folder too: it reads what it can, logs a failed write once, and retries it.
Everything here blocks: it is called from threads, and before the loop runs.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from agent.files import replace_file
from agent.own_files import NotOurs, folder_problem, open_own, read_own
from agent.registration.identity import AgentIdentity, checked_identity
from agent.view import snapshot_file
from agent.view.snapshot_file import BadViewSnapshot, ViewSnapshot
from registry_core.causes import cause_of
from registry_core.errors import ValidationError

SNAPSHOT: Final = "snapshot.jsonl"
SET_ASIDE: Final = "snapshot.bad"
IDENTITY: Final = "identity.json"
PROVEN: Final = "registries.json"
LOCK: Final = "lock"
MAX_IDENTITY_BYTES: Final = 4 * 1024 * 1024
MAX_PROVEN_BYTES: Final = 256 * 1024

_log = structlog.get_logger(component="agent.state")


class StateDir:
    """The folder, locked while the agent runs. `problem` says why it cannot be used, or is empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        self._is_ours = False
        self._lock: int | None = None

    def open(self) -> None:
        """Create and lock the folder; sets `problem` if that fails, or if others may write to it."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            problem = folder_problem(self.path.stat(), os.geteuid(), self.path)
            if problem:
                raise NotOurs(problem)
            self._is_ours = True
            self._lock = open_own(self.path / LOCK, os.O_RDWR | os.O_CREAT)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._let_go()
            self.problem = f"{self.path}: another agent uses it; give each its own"
        except OSError as error:
            self._let_go()
            self.problem = _said(self.path, error)
        if self.problem:
            _log.warning("state_not_kept", because=self.problem)

    def close(self) -> None:
        """Unlock the folder. Safe to call twice."""
        self._let_go()

    @property
    def is_held(self) -> bool:
        """Whether this agent holds the lock and may write."""
        return self._lock is not None

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- the snapshot

    def read_snapshot(self) -> ViewSnapshot | None:
        """Return the last snapshot, or None if there is none. A damaged one is moved aside and logged."""
        path = self.path / SNAPSHOT
        if not self._is_ours:
            return None
        try:
            snapshot = snapshot_file.decode(read_own(path, snapshot_file.MAX_BYTES))
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("snapshot_not_read", because=_said(path, error))
        except BadViewSnapshot as error:
            _log.warning("snapshot_set_aside", file=str(self._set_aside(path)), because=str(error))
        else:
            if snapshot.left_out:
                _log.warning(
                    "snapshot_records_left_out", file=str(path), records=snapshot.left_out, because=snapshot.problem
                )
            return snapshot
        return None

    def _set_aside(self, path: Path) -> Path:
        """Move a damaged file aside, replacing an earlier one; return its new path."""
        aside = self.path / SET_ASIDE
        try:
            path.replace(aside)
        except OSError:
            return path  # read-only: it stays, and the next start skips it as well
        return aside

    def write_snapshot(self, snapshot: ViewSnapshot) -> None:
        """Replace the snapshot. Raises OSError."""
        replace_file(self.path / SNAPSHOT, snapshot_file.encode(snapshot))

    # -- the identity

    def read_identity(self) -> AgentIdentity:
        """Return the kept identity, or an empty one; logs a file that cannot be read."""
        path = self.path / IDENTITY
        try:
            return checked_identity(msgspec.json.decode(read_own(path, MAX_IDENTITY_BYTES), type=AgentIdentity))
        except FileNotFoundError:
            return AgentIdentity()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValidationError) as error:
            _log.warning("identity_not_read", file=str(path), because=cause_of(error))
            return AgentIdentity()

    def write_identity(self, identity: AgentIdentity) -> None:
        """Replace the identity. Raises OSError."""
        replace_file(self.path / IDENTITY, [msgspec.json.encode(identity)])

    # -- the registries that take signatures

    def read_proven(self) -> frozenset[str]:
        """Return the addresses of the registries that take signatures; logs a file that cannot be read."""
        path = self.path / PROVEN
        try:
            return frozenset(msgspec.json.decode(read_own(path, MAX_PROVEN_BYTES), type=list[str]))
        except FileNotFoundError:
            return frozenset()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            _log.warning("proven_registries_not_read", file=str(path), because=cause_of(error))
            return frozenset()

    def write_proven(self, urls: Iterable[str]) -> None:
        """Replace these addresses, unless another agent holds the folder. Raises OSError."""
        if self.is_held:
            replace_file(self.path / PROVEN, [msgspec.json.encode(sorted(urls))])


def _said(path: Path, error: OSError) -> str:
    return f"{path}: {cause_of(error)}"
