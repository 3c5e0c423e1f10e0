"""How far a shard has been delivered, and the callers waiting for one of its revisions. No I/O."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from registry_core.domain.events import Position
from registry_core.telemetry.spans import span, tracing

# Longer than a failover: a write that the old master took just before it failed may be delivered only by the next one.
REACH_S: Final = 3.0
REMEMBERED_EPOCHS: Final = 16


class Arrivals:
    """Tracks what has been delivered of one shard, and wakes the callers waiting for it."""

    def __init__(self) -> None:
        self._epoch, self._revision = "", 0
        self._epochs_before: deque[str] = deque(maxlen=REMEMBERED_EPOCHS)
        # The epoch and revision each waits for, and until when, in the order in which they came.
        self._awaited: dict[asyncio.Future[None], tuple[str, int, float]] = {}
        self._patience: asyncio.TimerHandle | None = None  # one for all of them

    def when_reached(self, epoch: str, revision: int, then: Callable[[], None]) -> None:
        """Call `then` when that revision has been delivered, or a later epoch; after REACH_S anyway."""
        if self._has_told(epoch, revision):
            then()
        else:
            self._await(epoch, revision).add_done_callback(lambda _: then())

    async def reached(self, epoch: str, revision: int) -> None:
        """Return when that revision has been delivered, or a later epoch; after REACH_S anyway."""
        if tracing.tracer is None and self._has_told(epoch, revision):
            return  # it came before the answer, as for most writes of a pipeline
        with span("cache.set"):
            await self._delivered(epoch, revision)

    async def _delivered(self, epoch: str, revision: int) -> None:
        if self._has_told(epoch, revision):
            return
        told = self._await(epoch, revision)
        try:
            await told
        finally:
            self._awaited.pop(told, None)

    def _await(self, epoch: str, revision: int) -> asyncio.Future[None]:
        """Return a future that is done then."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()
        self._awaited[told] = (epoch, revision, loop.time() + REACH_S)
        if self._patience is None:
            self._patience = loop.call_later(REACH_S, self._end_patience)
        return told

    def _end_patience(self) -> None:
        """Wake the callers that have waited for REACH_S: the first ones, since all wait equally long."""
        loop = asyncio.get_running_loop()
        self._patience = None
        for told, (_, _, ends_at) in tuple(self._awaited.items()):
            if ends_at > loop.time():
                self._patience = loop.call_at(ends_at, self._end_patience)
                return
            self._resolve(told)

    def tell(self, position: Position) -> None:
        """Note that everything up to `position` was delivered, and wake the callers waiting for it."""
        if position.epoch != self._epoch:
            self._epochs_before.append(self._epoch)
            if position.epoch in self._epochs_before:  # this epoch came back: its events from here on are new
                self._epochs_before.remove(position.epoch)
        self._epoch, self._revision = position.epoch, position.revision
        for told, (epoch, revision, _) in tuple(self._awaited.items()):
            if self._has_told(epoch, revision):
                self._resolve(told)

    def _has_told(self, epoch: str, revision: int) -> bool:
        # A different epoch may be one that is still to be read.
        return self._revision >= revision if self._epoch == epoch else epoch in self._epochs_before

    def _resolve(self, told: asyncio.Future[None]) -> None:
        del self._awaited[told]
        if not told.done():
            told.set_result(None)
