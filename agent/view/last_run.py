"""Reads and writes what an agent keeps of its last run: ids, epoch and snapshot. A slow disk delays nothing."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Iterator
from functools import partial
from typing import Final

import msgspec
import structlog

from agent.registration.identity import ID_DIGITS, AgentIdentity, identified
from agent.settings.settings import ServiceSpec
from agent.view.snapshot_file import ViewSnapshot
from agent.view.state_dir import StateDir
from registry_core.blocking import NoThread, Threads
from registry_core.causes import cause_of

# The first answer is due within a second of the start, whatever the disk does.
STATE_S: Final = 0.5
# A disk that hangs blocks the abandoned threads; once it recovers, each of them writes the newest state.
MOST_AT_ONCE: Final = 4

_log = structlog.get_logger(component="agent")


class LastRun:
    """One agent's state on disk. Without a state folder nothing is kept, and services use their configured ids."""

    def __init__(self, state: StateDir | None, services: tuple[ServiceSpec, ...]) -> None:
        self._state = state
        self._identity: AgentIdentity | None = None  # None: nothing is kept
        self._threads = Threads("state", MOST_AT_ONCE)
        self._writing = threading.Lock()
        self.services = services  # with their ids
        self.snapshot: ViewSnapshot | None = None
        self.proven: frozenset[str] = frozenset()  # registries that took signatures for long enough

    @property
    def least_epoch(self) -> int:
        """The lowest epoch that this run may claim: above those of earlier runs, as far as they were kept."""
        return 1 if self._identity is None else self._identity.epoch + 1

    async def read(self) -> bool:
        """Load the kept state if the disk answers in time. Return whether it did."""
        state = self._state
        if state is None:
            return False
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + STATE_S
        try:
            identity, self.snapshot, self.proven = await self._threads.run(
                partial(_read, state), timeout_s=STATE_S, unwanted=lambda _: state.close()
            )
        except (TimeoutError, NoThread) as error:
            _log.warning("state_not_read", path=str(state.path), because=cause_of(error))
            return False
        if identity is not None:
            self.services, identity = identified(self.services, identity, draws=_draws())
            await self._keep_now(state, identity, ends_at - loop.time())
        return True

    async def with_ids(self, services: tuple[ServiceSpec, ...]) -> tuple[ServiceSpec, ...]:
        """Return `services` with their ids; known services keep theirs."""
        if self._identity is None or self._state is None:
            return services
        services, identity = identified(services, self._identity, draws=_draws())
        await self._keep_now(self._state, identity)
        return services

    async def keep_epoch(self, epoch: int) -> None:
        """Store `epoch` before it is claimed, so that the next run claims a newer one."""
        if self._identity is not None and self._state is not None and epoch > self._identity.epoch:
            await self._keep_now(self._state, msgspec.structs.replace(self._identity, epoch=epoch))

    async def _keep_now(self, state: StateDir, identity: AgentIdentity, most_s: float = STATE_S) -> None:
        self._identity = identity
        with contextlib.suppress(TimeoutError, NoThread):  # the disk is dead; what matters is in memory
            await self._threads.run(partial(self._keep, state), timeout_s=most_s)

    def _keep(self, state: StateDir) -> None:
        """Write the latest state. Blocks."""
        try:
            with self._writing:  # one thread at a time, each writing the newest state
                state.write_identity(self._identity or AgentIdentity())
        except OSError as error:
            _log.warning("identity_not_kept", path=str(state.path), because=error.strerror)


def _read(state: StateDir) -> tuple[AgentIdentity | None, ViewSnapshot | None, frozenset[str]]:
    """Return the kept state; no identity if another agent owns the folder, since its ids are not ours. Blocks."""
    state.open()
    if not state.is_held:
        return None, state.read_snapshot(), frozenset()
    return state.read_identity(), state.read_snapshot(), state.read_proven()


def _draws() -> Iterator[str]:
    return iter(lambda: secrets.token_hex(ID_DIGITS // 2), "")
