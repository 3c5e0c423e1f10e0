"""One reader of the watch: its outbox, what it has acknowledged, and the change that is followed to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import FIRST_PROTOCOL
from registry_core.watch.outbox import Outbox

_NOTHING: Final = Cursor()


class WatcherKind(msgspec.Struct, frozen=True, gc=False):
    """What decides which lines a reader gets: its service, None for all, and the form of the stream."""

    label: str | None
    protocol: int
    renewals: bool

    def is_told_of(self, label: str) -> bool:
        """Return whether these readers get the changes of a service."""
        return self.label is None or self.label == label


class StreamEnd(msgspec.Struct, frozen=True):
    """Where a reader's stream ends: what writes to its connection, and how.

    Octets that the reader does not take wait in the transport; beyond `most_waiting` of them, it is too slow to be
    written to without waiting for it.
    """

    transport: asyncio.Transport
    is_chunked: bool
    most_waiting: int


class Watcher:
    """One reader of the stream, and its outbox.

    One with an `id` acknowledges what it has applied: `acknowledged` is how far. `connected` says whether it is
    still there; a watcher that is gone is noticed for certain only when it is written to.
    """

    __slots__ = (
        "__weakref__",
        "_followed",
        "_woken",
        "acknowledged",
        "agent_id",
        "began_at",
        "closed",
        "connected",
        "end",
        "farewell",
        "id",
        "kind",
        "outbox",
    )

    def __init__(
        self,
        outbox: Outbox,
        kind: WatcherKind,
        *,
        id: str = "",  # noqa: A002 - the field's name; the builtin is not used here
        acknowledged: Cursor = _NOTHING,
        began_at: Cursor = _NOTHING,
        connected: Callable[[], bool] = lambda: True,
    ) -> None:
        self.kind = kind
        self.id = id
        self.acknowledged = acknowledged
        self.began_at = began_at  # where it resumed; it may be ahead of this replica
        self.connected = connected
        self.closed = False
        self.agent_id = ""  # once it has reported
        self.farewell = b""  # the last line, of a replica that stops
        self.outbox = outbox
        self.end: StreamEnd | None = None  # while the fan-out writes to it
        self._followed: tuple[float, int] | None = None  # when a change came that is followed, and the lines up to it
        self._woken: asyncio.Future[None] | None = None

    def restart(self) -> None:
        """Start again with a snapshot."""
        self.began_at = _NOTHING
        self.outbox.restart()
        self.wake()  # before another line is written behind what the snapshot will replace

    def take(self) -> bytes:
        """Return the next bytes to send, bounded in size; empty when there is nothing."""
        return self.outbox.take()

    def follow(self, at: float, number: int) -> None:
        """Follow the change that came at this time, the last before line `number`, unless another one is followed."""
        if self._followed is None:
            self._followed = (at, number)

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

    async def until_woken(self) -> None:
        """Return when `wake` is called."""
        self._woken = asyncio.get_running_loop().create_future()
        try:
            await self._woken
        finally:
            self._woken = None

    def wake(self) -> None:
        """Let the task of this watcher go on, if it waits; nothing else writes to the connection from now on."""
        self.end = None
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def close(self, farewell: bytes = b"") -> None:
        """End the stream at once, with this last line."""
        self.farewell = farewell if self.kind.protocol > FIRST_PROTOCOL else b""
        self.closed = True
        self.wake()
