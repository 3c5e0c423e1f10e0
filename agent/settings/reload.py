"""Reloads the settings when their files change, or on SIGHUP.

Files are polled every few seconds, which also catches what notifications miss: a directory swapped by a symbolic
link, a network disk. A problem is logged once, and the old settings stay.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
import structlog

from agent.settings.reload_plan import ReloadPlan, planned
from agent.settings.settings import AgentSettings
from registry_core.blocking import NoThread, Threads
from registry_core.causes import cause_of
from registry_core.errors import SettingsError
from registry_core.telemetry.logs import hide, live_levels
from registry_core.telemetry.redaction import secrets_in

POLL_S: Final = 2.0
READ_S: Final = 10.0
# A disk that hangs blocks the abandoned threads.
MOST_AT_ONCE: Final = 4
# Larger files are compared only by time and inode, not by content.
MAX_HASHED_BYTES: Final = 1024 * 1024
# For each file: device, inode, time of change, size and content, or why it cannot be read.
Fingerprint: TypeAlias = tuple[tuple[object, ...], ...]

_log = structlog.get_logger(component="agent.reload")


class ReloadReport(msgspec.Struct, frozen=True, kw_only=True):
    """The reloads, for `/self` and the metrics."""

    files: tuple[str, ...]
    taken: int
    kept: int
    problem: str  # why the last reload was rejected; empty if it was not
    need_restart: tuple[str, ...]


class Reloader:
    """Reloads the settings of one agent: `read` returns them (it blocks), `apply` carries out the changes."""

    def __init__(
        self,
        settings: AgentSettings,
        read: Callable[[], AgentSettings],
        apply: Callable[[ReloadPlan], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._read = read
        self._apply = apply
        self._threads = Threads("read settings", MOST_AT_ONCE)
        self._asked = asyncio.Event()
        self._taken = self._kept = 0
        self._problem = ""
        self._need_restart: tuple[str, ...] = ()

    def ask(self) -> None:
        """Reload now, whether or not a file has changed.

        Log lines have the levels of the settings again, whatever an operator has asked for since.
        """
        live_levels.configure(self._settings.log_level)
        self._asked.set()

    def report(self) -> ReloadReport:
        """Return the state of the reloads."""
        return ReloadReport(
            files=self._settings.files,
            taken=self._taken,
            kept=self._kept,
            problem=self._problem,
            need_restart=self._need_restart,
        )

    async def run(self) -> None:
        """Watch the files, until cancelled."""
        # The files may have changed since the start read them: read them again, which mostly changes nothing.
        taken: Fingerprint | None = None
        seen = await self._look()
        while True:
            asked = False
            try:
                async with asyncio.timeout(POLL_S):
                    await self._asked.wait()
            except TimeoutError:
                before, seen = seen, await self._look()
                # A file that changed a moment ago may still be being written.
                if seen == taken or seen != before:
                    continue
            else:
                asked = True
                self._asked.clear()
                seen = await self._look()
            taken = seen
            await self._reload(asked=asked)
            if len(taken) != len(self._settings.files):
                taken = seen = await self._look()  # the settings may name another static file

    async def _look(self) -> Fingerprint:
        files = self._settings.files
        if not files:
            return ()
        try:
            return await self._threads.run(partial(fingerprint, files), timeout_s=READ_S)
        except (TimeoutError, NoThread):
            return (("it takes too long",),)

    async def _reload(self, *, asked: bool) -> None:
        try:
            new = await self._threads.run(self._read, timeout_s=READ_S)
            hide(secrets_in(new))
            plan = planned(self._settings, new)
            if not plan.is_empty:
                await self._apply(plan)
        except SettingsError as error:
            self._refused(str(error), asked=asked)
        except (TimeoutError, NoThread) as error:
            self._refused(f"the settings cannot be read: {cause_of(error)}", asked=asked)
        except Exception:  # noqa: BLE001 - the top of one reload: the agent goes on
            _log.exception("reload_failed")
            self._refused("the reload failed; see the agent's log", asked=asked)
        else:
            self._took(plan, silently=plan.is_empty and not asked and not self._problem)

    def _refused(self, because: str, *, asked: bool) -> None:
        self._kept += 1
        # An editor may write a file in several steps: the same problem is logged once, or on request.
        if asked or because != self._problem:
            _log.error("settings_kept", because=because)
        self._problem = because

    def _took(self, plan: ReloadPlan, *, silently: bool) -> None:
        if silently:
            return
        self._taken += 1
        self._problem = ""
        if plan.settings.log_level != self._settings.log_level:
            live_levels.configure(plan.settings.log_level)
        self._settings = plan.settings
        if plan.need_restart and plan.need_restart != self._need_restart:
            _log.warning("settings_need_restart", settings=plan.need_restart)
        self._need_restart = plan.need_restart
        _log.info("settings_taken", changed=plan.changed, services=len(plan.settings.services))


def fingerprint(files: Iterable[str]) -> Fingerprint:
    """Return a fingerprint of the state of `files`. Blocks."""
    return tuple(map(_of_one, files))


def _of_one(name: str) -> tuple[object, ...]:
    path = Path(name)
    try:
        status = path.stat()
        content = b""
        if status.st_size <= MAX_HASHED_BYTES:
            with path.open("rb") as file:
                content = hashlib.blake2b(file.read(MAX_HASHED_BYTES + 1), digest_size=16).digest()
    except OSError as error:
        return (error.errno,)
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, content)
