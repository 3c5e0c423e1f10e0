"""Keeps the snapshot on disk up to date with the view: written after changes, at a limited rate.

A full or read-only disk does not affect lookups: the failure is logged once, counted, and retried.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import Final

import msgspec
import structlog

from agent.view.snapshot_file import ViewSnapshot
from agent.view.state_dir import StateDir
from agent.view.view import AgentView
from registry_core.blocking import Threads
from registry_core.causes import cause_of
from registry_core.ports.clock import Clock

# At most one write per this many seconds, however much the fleet changes.
SAVE_EVERY_S: Final = 5.0
# A write costs 2 ms of CPU for each thousand instances, so more of them are written less often, at most a minute apart:
# then writing takes at most a 2000th of a core while the fleet changes all the time.
SAVE_THOUSAND_EVERY_S: Final = 5.0
MOST_EVERY_S: Final = 60.0
# Time limit of one write; after it the disk counts as broken, and the thread is abandoned.
WRITE_S: Final = 20.0
RETRY_S: Final = 30.0

_log = structlog.get_logger(component="agent.state")


def pause_s(instances: int) -> float:
    """Return the shortest time between two writes of so many instances, in seconds."""
    return min(MOST_EVERY_S, max(SAVE_EVERY_S, SAVE_THOUSAND_EVERY_S * instances / 1000))


class SnapshotReport(msgspec.Struct, frozen=True, kw_only=True):
    """The snapshot on disk, as `/self` and the metrics show it."""

    path: str
    saved_at: float | None  # Unix seconds; None: this agent has not written one yet
    instances: int
    saves: int
    failures: int
    problem: str


class SnapshotKeeper:
    """Writes the view of one agent into its state folder."""

    def __init__(
        self,
        state: StateDir,
        view: AgentView,
        clock: Clock,
        *,
        save_every_s: float = SAVE_EVERY_S,
    ) -> None:
        self._state = state
        self._view = view
        self._clock = clock
        self._save_every_s = save_every_s
        self._dirty = asyncio.Event()
        # One at a time, abandoned ones included: an older file must not replace a newer one.
        self._threads = Threads("write snapshot", 1)
        self._turn = asyncio.Lock()
        self._problem = state.problem
        self._saved_at: float | None = None
        # Monotonic: when the content of the file was current, and since when it has lacked a change.
        self._as_of: float | None = clock.monotonic() - view.age_s() if view.loaded else None
        self._behind_since: float | None = None
        self._instances = self._saves = self._failures = 0
        self._not_before = -math.inf  # monotonic: the earliest time of the next write
        view.subscribe(self._changed)

    def report(self) -> SnapshotReport:
        """Return the state of the file."""
        return SnapshotReport(
            path=str(self._state.path),
            saved_at=self._saved_at,
            instances=self._instances,
            saves=self._saves,
            failures=self._failures,
            problem=self._problem,
        )

    @property
    def age_s(self) -> float:
        """Seconds since the snapshot was written, or, if by an earlier run, since it was confirmed; NaN without one."""
        return math.nan if self._as_of is None else self._clock.monotonic() - self._as_of

    @property
    def behind_s(self) -> float:
        """Seconds for which the snapshot has lacked a change of the view; 0 while it lacks none."""
        return 0.0 if self._behind_since is None else self._clock.monotonic() - self._behind_since

    async def run(self) -> None:
        """Write after each change, until cancelled."""
        while True:
            await self._dirty.wait()
            # Changes in the meantime go into the same write.
            await asyncio.sleep(max(self._save_every_s, self._not_before - self._clock.monotonic()))
            if not await self.save():
                await asyncio.sleep(RETRY_S)

    async def save(self, most_s: float = WRITE_S) -> bool:
        """Write unsaved changes now, within `most_s`. Return False if that failed; the failure is logged."""
        if not self._dirty.is_set() or not self._state.is_held or not self._view.loaded:
            self._dirty.clear()
            return True
        self._dirty.clear()
        snapshot, taken_at = self._view.snapshot(self._clock.wall()), self._clock.monotonic()
        try:
            async with asyncio.timeout(most_s), self._turn:
                await self._threads.run(partial(self._state.write_snapshot, snapshot), timeout_s=most_s)
        except (OSError, TimeoutError) as error:
            self._failed(snapshot, error, most_s)
            return False
        except Exception:
            self._missed()  # a bug of ours must not lose the change
            raise
        if self._problem:
            _log.info("snapshot_written_again", path=str(self._state.path))
        self._problem = ""
        self._saved_at, self._instances = self._clock.wall(), len(snapshot.instances)
        self._as_of, self._behind_since = taken_at, taken_at if self._dirty.is_set() else None
        self._saves += 1
        self._not_before = taken_at + pause_s(self._instances)
        return True

    def _failed(self, snapshot: ViewSnapshot, error: OSError | TimeoutError, most_s: float) -> None:
        self._missed()
        self._failures += 1
        said = f"it took longer than {most_s:g} s" if isinstance(error, TimeoutError) else cause_of(error)
        if said != self._problem:
            self._problem = said
            _log.warning(
                "snapshot_not_written", path=str(self._state.path), instances=len(snapshot.instances), because=said
            )

    def _changed(self, labels: frozenset[str]) -> None:
        if labels:  # none: only time has passed
            self._missed()

    def _missed(self) -> None:
        """Note that the file lacks a change."""
        self._dirty.set()
        if self._behind_since is None:
            self._behind_since = self._clock.monotonic()
