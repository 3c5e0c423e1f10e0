"""The audit log of a running replica: takes entries without waiting, and has one thread at a time write them.

An entry is in memory alone for BATCH_S and the time that the disk takes: that much a `kill -9` can lose. While the log
cannot be written, entries wait, up to MAX_WAITING; later ones are counted, and a line says how many are missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

import structlog

from registry_core.blocking import Job, Threads
from registry_core.causes import cause_of
from registry_core.errors import AuditUnavailable
from registry_core.ports.audit import AuditEntry
from registry_core.ports.clock import Clock
from registry_core.security.audit.batches import (
    LogHandle,
    about_removal,
    open_log,
    removals_due,
    remove_segments,
    write_batch,
)
from registry_core.security.audit.heads import SignedHead
from registry_core.security.audit.lines import CLOSED, LOST, OPENED, CountedEntry, about_log, iso
from registry_core.security.audit.repeats import Repeats
from registry_core.security.audit.settings import AuditSettings
from registry_core.security.audit.writing import LogEnd
from registry_core.supervision import Background
from registry_core.telemetry.log_thinning import Thinning

# How long entries are gathered before they are written together.
BATCH_S: Final = 0.2
MAX_BATCH: Final = 2_000
MAX_WAITING: Final = 20_000
RETRY_S: Final = 1.0
# A disk that takes longer counts as one that cannot be written to.
STALL_S: Final = 5.0
OPEN_S: Final = 5.0
CLOSE_S: Final = 1.0
LOOK_FOR_OLD_EVERY_S: Final = 3600.0
# Renewals change nothing about what is registered: they are left out, and are never refused for a full disk.
RENEWALS: Final = frozenset({"heartbeat"})
_FIRST_REFUSAL: Final = 400

R = TypeVar("R")

log = structlog.get_logger(component="audit")


class AuditLog:
    """The audit log in the folder of `settings`. `start` it, and `close` it."""

    def __init__(self, settings: AuditSettings, clock: Clock, background: Background) -> None:
        self.settings = settings
        self.handle: LogHandle | None = None  # None: it is not open
        self.end: LogEnd | None = None
        self.lost = 0  # entries, since the start
        self.problem = "it is not open yet"
        self._lost_before = 0  # of them, those that have a line
        self._lost_since = 0.0
        self._clock = clock
        self._background = background
        self._waiting: deque[AuditEntry | CountedEntry] = deque()
        self._repeats = Repeats()
        self._looks_at = clock.monotonic()
        self._left_out = frozenset() if settings.heartbeats else RENEWALS
        self._woken = asyncio.Event()
        self._tried = asyncio.Event()
        self._closing = asyncio.Event()
        self._thread = Threads("audit", 1)
        self._is_busy: Callable[[], bool] = lambda: False
        self._thinning = Thinning()
        self._task: asyncio.Task[None] | None = None

    # -- entries

    def require_room(self, operation: str) -> None:
        """Raise AuditUnavailable when the log cannot be written, and writes are to be refused for that."""
        if not self.settings.refuses or operation in RENEWALS:
            return
        if self.problem or len(self._waiting) >= MAX_WAITING // 2:
            because = self.problem or "its disk does not keep up"
            raise AuditUnavailable(f"the audit log cannot be written ({because}), and no write is done without it")

    def wants(self, operation: str, status: int) -> bool:
        """Return whether an entry of `operation` with this status is kept, or counted."""
        return status >= _FIRST_REFUSAL or operation not in self._left_out

    def note(self, entry: AuditEntry) -> None:
        """Keep an entry, if the log wants it. It does not wait, and raises nothing."""
        if entry.status >= _FIRST_REFUSAL:
            if not self._repeats.gets_line(entry, self._clock.monotonic()):
                self._woken.set()
                return
        elif entry.operation in self._left_out:
            return
        self._take(entry)

    def _take(self, entry: AuditEntry | CountedEntry) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(entry)
        else:
            if self.lost == self._lost_before:
                self._lost_since = self._clock.wall()
            self.lost += 1
        self._woken.set()

    # -- its state

    @property
    def waiting(self) -> int:
        """How many entries are not written yet."""
        return len(self._waiting)

    @property
    def size(self) -> int:
        """How many lines it has had, in all time; 0 while it is not open."""
        return 0 if self.end is None else self.end.frontier.size

    @property
    def head(self) -> SignedHead | None:
        """The newest head; None while the log is not open."""
        return None if self.end is None else self.end.head

    # -- its life

    async def start(self) -> None:
        """Open the log, and begin to write. One that cannot be opened is tried again and again; nothing is raised."""
        self._task = self._background.keep("audit", self._run, ends=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPEN_S):
                await self._tried.wait()

    async def close(self) -> None:
        """Write what waits, within CLOSE_S, and let go of the folder. Safe to call twice."""
        self._closing.set()
        self._woken.set()
        if self._task is None:
            return
        await asyncio.wait((self._task,), timeout=CLOSE_S)
        task, self._task = self._task, None
        task.cancel()
        if self._waiting:
            log.error("audit_lost", count=len(self._waiting))
        # A thread that still writes keeps the folder until this process ends.
        if self.handle is not None and not self._is_busy():
            os.close(self.handle.lock)

    async def _run(self) -> None:
        while True:
            try:
                if self.handle is None:
                    await self._open()
                elif await self._write():
                    return
            except OSError as error:
                self._failed(cause_of(error))
                if self._closing.is_set():
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_S):
                        await self._closing.wait()
            finally:
                self._tried.set()

    async def _open(self) -> None:
        """Raises OSError."""
        handle = await self._carried_out(partial(open_log, self.settings, secrets.token_hex(4)))
        self.handle, self.end = handle, handle.end
        self._works()
        for mended in handle.mended:
            log.warning("audit_mended", folder=str(self.settings.folder), because=mended)
        self._take(about_log(OPENED, self._clock.wall(), "; ".join(handle.mended)))
        log.info("audit_opened", folder=str(self.settings.folder), key=str(handle.signer.verifier), size=self.size)

    async def _write(self) -> bool:
        """Wait for entries and write them. Return whether the log is complete and closed. Raises OSError."""
        await self._entries()
        closes = self._closing.is_set()
        for counted in self._repeats.take(self._clock.monotonic(), early=closes):
            self._take(counted)
        if self._clock.monotonic() >= self._looks_at:
            self._looks_at = self._clock.monotonic() + LOOK_FOR_OLD_EVERY_S
            await self._remove_old()
        taken, lost, now = list(islice(self._waiting, MAX_BATCH)), self.lost, self._clock.wall()
        entries = [*taken, *self._about_lost(lost, now)]
        ends = closes and len(taken) == len(self._waiting)
        if ends:
            entries.append(about_log(CLOSED, now))
        if entries:
            await self._append(entries)
            self._lost_before = lost
            for _ in taken:
                self._waiting.popleft()
        return ends

    async def _append(self, entries: Sequence[AuditEntry | CountedEntry]) -> None:
        """Raises OSError."""
        assert self.handle is not None  # it is open by now
        assert self.end is not None
        work = partial(write_batch, self.settings, self.handle, self.end, entries, self._clock.wall())
        self.end = await self._carried_out(work)
        self._works()

    async def _remove_old(self) -> None:
        """Remove what has been kept for long enough. It has its line before it is gone. Raises OSError."""
        old = await self._carried_out(partial(removals_due, self.settings, self._clock.wall()))
        if old:
            await self._append([about_removal(one, self._clock.wall()) for one in old])
            await self._carried_out(partial(remove_segments, self.settings, old))

    async def _entries(self) -> None:
        """Wait until there is something to write, and for what comes shortly after it."""
        if not self._waiting:
            self._woken.clear()
            due_in_s = self._repeats.due_in_s(self._clock.monotonic())
            looks_in_s = max(0.0, self._looks_at - self._clock.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(looks_in_s if due_in_s is None else min(looks_in_s, due_in_s)):
                    await self._woken.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BATCH_S):
                await self._closing.wait()

    def _about_lost(self, lost: int, now: float) -> list[AuditEntry]:
        missing = lost - self._lost_before
        if not missing:
            return []
        log.error("audit_lost", count=missing)
        return [about_log(LOST, now, f"{missing} entries since {iso(self._lost_since)} could not be kept")]

    async def _carried_out(self, work: Callable[[], R]) -> R:
        """Return what `work` returns, in the one thread of the log. Raises OSError.

        A thread that hangs is waited for: nothing else may write meanwhile.
        """
        job = self._thread.begin(work)
        self._is_busy = partial(_runs, job)
        while not await job.wait(STALL_S):
            self._failed("its disk does not answer")
        return job.result()

    def _failed(self, because: str) -> None:
        self.problem = because
        failures = self._thinning.failed(because, self._clock.monotonic())
        if failures is not None:
            log.error(
                "audit_not_written",
                folder=str(self.settings.folder),
                because=because,
                failures=failures,
                waiting=len(self._waiting),
                refuses_writes=self.settings.refuses,
            )

    def _works(self) -> None:
        self.problem = ""
        outage = self._thinning.succeeded(self._clock.monotonic())
        if outage is not None:
            log.info("audit_written_again", failures=outage.failures, lasted_s=round(outage.lasted_s, 1))


def _runs(job: Job[Any]) -> bool:
    return not job.done
