"""One reader of the watch: its outbox, what it has acknowledged, and the change that is followed to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import FIRST_PROTOCOL
from registry_core.watch.outbox import Outbox

_NOTHING: Final = Cursor()


class Watcher:
    """One reader of the stream, and its outbox.

    One with an `id` acknowledges what it has applied: `acknowledged` is how far. `connected` says whether it is
    still there; a watcher that is gone is noticed for certain only when it is written to.
    """

    def __init__(
        self,
        outbox: Outbox,
        label: str | None,
        *,
        protocol: int,
        renewals: bool,
        id: str = "",  # noqa: A002 - the field's name; the builtin is not used here
        acknowledged: Cursor = _NOTHING,
        began_at: Cursor = _NOTHING,
        connected: Callable[[], bool] = lambda: True,
    ) -> None:
        self.label = label
        self.protocol = protocol
        # From version 2 on, the sign of life covers renewals, whatever the reader asks for.
        self.renewals = renewals and protocol == FIRST_PROTOCOL
        self.id = id
        self.acknowledged = acknowledged
        self.began_at = began_at  # where it resumed; it may be ahead of this replica
        self.connected = connected
        self.closed = False
        self.agent_id = ""  # once it has reported
        self.farewell = b""  # the last line, of a replica that stops
        self.outbox = outbox
        self._followed: tuple[float, int] | None = None  # when a change came that is followed, and the lines up to it
        self._wake = asyncio.Event()

    def put(self, line: bytes) -> None:
        """Queue a line."""
        if self.outbox.put(line):
            self._wake.set()

    def restart(self) -> None:
        """Start again with a snapshot."""
        self.began_at = _NOTHING
        self.outbox.restart()
        self._wake.set()

    def take(self) -> bytes:
        """Return the next bytes to send, bounded in size; empty when there is nothing."""
        return self.outbox.take()

    def follow(self, at: float) -> None:
        """Follow the change that was just put, which came at this time, unless another one is followed."""
        if self._followed is None:
            self._followed = (at, self.outbox.queued)

    @property
    def followed_at(self) -> float | None:
        """When the change came that this reader has not got yet, or None when none is followed."""
        return self._followed[0] if self._followed is not None else None

    def arrived(self) -> float | None:
        """Return when the followed change came if all of it was taken, once; otherwise None."""
        if self._followed is None or not self.outbox.is_through(self._followed[1]):
            return None
        at, self._followed = self._followed[0], None
        return at

    async def wait(self, timeout_s: float) -> None:
        """Return when there may be something to take, or when the watcher was closed.

        Raises TimeoutError when nothing came, not even the next sign of life.
        """
        if not self.outbox.waiting and not self.closed:
            self._wake.clear()
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()

    def close(self, farewell: bytes = b"") -> None:
        """End the stream at once, with this last line."""
        self.farewell = farewell if self.protocol > FIRST_PROTOCOL else b""
        self.closed = True
        self._wake.set()
