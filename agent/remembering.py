"""What an agent knows of its last run: its ids, its epoch and its snapshot. Nobody waits long for the disk."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from functools import partial
from typing import Final

import msgspec
import structlog

from agent.blocking import in_thread
from agent.identity import ID_DIGITS, Identity, epoch_at, identified
from agent.settings import ServiceSpec
from agent.snapshot import Saved
from agent.state_dir import StateDir

# The first answer is to come within a second of the start, whatever the disk does.
STATE_S: Final = 0.5

_log = structlog.get_logger(component="agent")


class Memory:
    """One agent's memory. Without a folder of its own it has none, and services keep the ids that they came with."""

    def __init__(self, state: StateDir | None, services: tuple[ServiceSpec, ...]) -> None:
        self._state = state
        self._identity: Identity | None = None  # None: nothing is kept, and the clock says the epoch
        self.services = services  # with their ids
        self.saved: Saved | None = None

    @property
    def epoch(self) -> int | None:
        """The epoch of this run; None: nobody but the clock can say it."""
        return None if self._identity is None else self._identity.epoch

    async def read(self, wall: float) -> bool:
        """Take what is kept, if that can be had at once; `wall` is the time, Unix seconds. Return whether it could."""
        state = self._state
        if state is None:
            return False

        def read() -> Saved | None:
            state.open()
            # A folder that another agent has is that one's: its ids are not ours.
            if state.is_held:
                kept = state.read_identity()
                self.services, self._identity = identified(self.services, kept, epoch=epoch_at(wall), draws=_draws())
                self._keep(state, self._identity)
            return state.read_snapshot()

        try:
            self.saved = await in_thread(read, name="read state", timeout_s=STATE_S)
        except TimeoutError:
            _log.warning("state_not_read", path=str(state.path), because=f"it took longer than {STATE_S:g} s")
            return False
        return True

    async def with_ids(self, services: tuple[ServiceSpec, ...]) -> tuple[ServiceSpec, ...]:
        """Return other services with their ids, those of before where they are the same ones."""
        if self._identity is None or self._state is None:
            return services
        services, found = identified(services, self._identity, epoch=self._identity.epoch, draws=_draws())
        identity = self._identity = msgspec.structs.replace(found, epoch=self._identity.epoch)
        write = partial(self._keep, self._state, identity)
        with contextlib.suppress(TimeoutError):  # the disk is dead; what matters is in memory
            await in_thread(write, name="write identity", timeout_s=STATE_S)
        return services

    def _keep(self, state: StateDir, identity: Identity) -> None:
        """Keep what is new. Blocks."""
        try:
            state.write_identity(identity)
        except OSError as error:
            _log.warning("identity_not_kept", path=str(state.path), because=error.strerror)


def _draws() -> Iterator[str]:
    return iter(lambda: secrets.token_hex(ID_DIGITS // 2), "")
