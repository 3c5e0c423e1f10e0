"""What an agent knows of its last run: its ids, its epoch and its snapshot. Nobody waits long for the disk."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator
from functools import partial
from typing import Final

import msgspec
import structlog

from agent.registration.identity import ID_DIGITS, Identity, identified
from agent.settings.settings import ServiceSpec
from agent.view.snapshot_file import ViewSnapshot
from agent.view.state_dir import StateDir
from registry_core.blocking import in_thread

# The first answer is to come within a second of the start, whatever the disk does.
STATE_S: Final = 0.5

_log = structlog.get_logger(component="agent")


class LastRun:
    """One agent's memory. Without a folder of its own it has none, and services keep the ids that they came with."""

    def __init__(self, state: StateDir | None, services: tuple[ServiceSpec, ...]) -> None:
        self._state = state
        self._identity: Identity | None = None  # None: nothing is kept
        self._writing = threading.Lock()
        self.services = services  # with their ids
        self.snapshot: ViewSnapshot | None = None

    @property
    def least_epoch(self) -> int:
        """What this run may claim at least: more than those before it, as far as that is kept."""
        return 1 if self._identity is None else self._identity.epoch + 1

    async def read(self) -> bool:
        """Take what is kept, if that can be had at once. Return whether it could."""
        state = self._state
        if state is None:
            return False

        def read() -> ViewSnapshot | None:
            state.open()
            # A folder that another agent has is that one's: its ids are not ours.
            if state.is_held:
                kept = state.read_identity()
                self.services, self._identity = identified(self.services, kept, draws=_draws())
                self._keep(state)
            return state.read_snapshot()

        try:
            self.snapshot = await in_thread(read, name="read state", timeout_s=STATE_S)
        except TimeoutError:
            _log.warning("state_not_read", path=str(state.path), because=f"it took longer than {STATE_S:g} s")
            return False
        return True

    async def with_ids(self, services: tuple[ServiceSpec, ...]) -> tuple[ServiceSpec, ...]:
        """Return other services with their ids, those of before where they are the same ones."""
        if self._identity is None or self._state is None:
            return services
        services, identity = identified(services, self._identity, draws=_draws())
        await self._keep_now(self._state, identity)
        return services

    async def keep_epoch(self, epoch: int) -> None:
        """Keep that `epoch` is claimed from now on, so that the next run claims a newer one."""
        if self._identity is not None and self._state is not None and epoch > self._identity.epoch:
            await self._keep_now(self._state, msgspec.structs.replace(self._identity, epoch=epoch))

    async def _keep_now(self, state: StateDir, identity: Identity) -> None:
        self._identity = identity
        write = partial(self._keep, state)
        with contextlib.suppress(TimeoutError):  # the disk is dead; what matters is in memory
            await in_thread(write, name="write identity", timeout_s=STATE_S)

    def _keep(self, state: StateDir) -> None:
        """Keep what is new. Blocks."""
        try:
            with self._writing:  # one thread after the other, each with what is the newest when its turn comes
                state.write_identity(self._identity or Identity())
        except OSError as error:
            _log.warning("identity_not_kept", path=str(state.path), because=error.strerror)


def _draws() -> Iterator[str]:
    return iter(lambda: secrets.token_hex(ID_DIGITS // 2), "")
