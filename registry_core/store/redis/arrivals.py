"""How far a shard has been delivered, and the callers waiting for one of its revisions. No I/O."""

from __future__ import annotations

import asyncio
from collections import deque
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
        self._awaited: dict[asyncio.Future[None], tuple[str, int]] = {}  # the epoch and revision each waits for

    async def reached(self, epoch: str, revision: int) -> None:
        """Return when that revision has been delivered, or a later epoch; after REACH_S anyway."""
        if tracing.tracer is None and self._has_told(epoch, revision):
            return  # it came before the answer, as for most writes of a pipeline
        with span("cache.set"):
            await self._delivered(epoch, revision)

    async def _delivered(self, epoch: str, revision: int) -> None:
        if self._has_told(epoch, revision):
            return
        # One future for each write: a condition would wake every waiter on every batch.
        loop = asyncio.get_running_loop()
        told: asyncio.Future[None] = loop.create_future()
        self._awaited[told] = (epoch, revision)
        patience = loop.call_later(REACH_S, _resolve, told)
        try:
            await told
        finally:
            patience.cancel()
            del self._awaited[told]

    def tell(self, position: Position) -> None:
        """Note that everything up to `position` was delivered, and wake the callers waiting for it."""
        if position.epoch != self._epoch:
            self._epochs_before.append(self._epoch)
            if position.epoch in self._epochs_before:  # this epoch came back: its events from here on are new
                self._epochs_before.remove(position.epoch)
        self._epoch, self._revision = position.epoch, position.revision
        for told, awaited in self._awaited.items():
            if self._has_told(*awaited):
                _resolve(told)

    def _has_told(self, epoch: str, revision: int) -> bool:
        # A different epoch may be one that is still to be read.
        return self._revision >= revision if self._epoch == epoch else epoch in self._epochs_before


def _resolve(told: asyncio.Future[None]) -> None:
    if not told.done():
        told.set_result(None)
