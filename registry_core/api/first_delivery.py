"""Makes requests wait briefly, and then refuses them, until the store has delivered its first snapshot.

A replica listens at once, even while its store is unreachable. But a normal start must not fail requests: a load
balancer accepts a 503 as the answer, while it would have tried another replica if the port had been closed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from registry_core.api.view import ReplicaView
from registry_core.domain.events import Event
from registry_core.errors import Warming

# Counted from the start of the replica; after that, requests are refused at once.
WAIT_S: Final = 2.0
RETRY_AFTER_S: Final = 1.0


class FirstDelivery:
    """Whether the view has data yet to answer lookups and check writes."""

    def __init__(self, view: ReplicaView) -> None:
        self._view = view
        self._came = asyncio.Event()
        self._waits_until = 0.0  # on the loop's clock
        view.subscribe(self)

    def begin(self) -> None:
        """Let requests wait from now on, for WAIT_S in all."""
        self._waits_until = asyncio.get_running_loop().time() + WAIT_S

    async def wait(self) -> None:
        """Return when the view has data, or the time is over."""
        if not self._view.loaded:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._waits_until):
                    await self._came.wait()

    async def require(self) -> None:
        """Return when the view has data. Raises Warming when it has none in time."""
        if not self._view.loaded:
            await self.wait()
        if not self._view.loaded:
            raise Warming("this registry has not read its store yet; GET /health says why", retry_after_s=RETRY_AFTER_S)

    # -- what the view says

    def on_reset(self) -> None:
        """Wake the waiting requests if the view has data now."""
        if self._view.loaded:
            self._came.set()

    def on_event(self, event: Event, service_name: str) -> None:
        """Do nothing: an event only changes existing data."""

    def on_moved(self, differences: Sequence[Event]) -> None:
        """Do nothing, for the same reason."""
