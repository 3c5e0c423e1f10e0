"""What a request meets before the store has delivered anything: a short wait, and then a refusal.

A replica listens at once, also while its store cannot be found. A start that takes as long as it should is not to
cost a request, though: a load balancer takes a 503 for an answer, where it would have gone elsewhere from a port
on which nobody listened.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from registry_core.api.view import ReplicaView
from registry_core.domain.events import Event
from registry_core.errors import Warming

# From the start of the replica; what comes later is refused at once.
WAIT_S: Final = 2.0
RETRY_AFTER_S: Final = 1.0


class FirstDelivery:
    """Whether there is anything yet to answer from, and to judge a write by."""

    def __init__(self, view: ReplicaView) -> None:
        self._view = view
        self._came = asyncio.Event()
        self._waits_until = 0.0  # on the loop's clock
        view.subscribe(self)

    def begin(self) -> None:
        """Have requests wait from now on, for WAIT_S in all."""
        self._waits_until = asyncio.get_running_loop().time() + WAIT_S

    async def wait(self) -> None:
        """Return when there is something, or the time is over."""
        if not self._view.loaded:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._waits_until):
                    await self._came.wait()

    async def require(self) -> None:
        """Return when there is something. Raises Warming when there is not in time."""
        if not self._view.loaded:
            await self.wait()
        if not self._view.loaded:
            raise Warming("this registry has not read its store yet; GET /health says why", retry_after_s=RETRY_AFTER_S)

    # -- what the view says

    def on_reset(self) -> None:
        """Wake those who wait, if this was it."""
        if self._view.loaded:
            self._came.set()

    def on_event(self, event: Event, service_name: str) -> None:
        """Do nothing: an event changes what is there already."""

    def on_moved(self, differences: Sequence[Event]) -> None:
        """Do nothing: the same."""
