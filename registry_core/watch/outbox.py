"""The bounded queue of lines for one reader. Pure; the hub fills it, and `api/watch.py` sends from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

# How much to hand to a connection at a time; a snapshot is encoded only as fast as it is read.
BATCH_BYTES: Final = 64 * 1024
# A line of this size is handed out by itself, not copied into a batch: all its readers share it.
SHARED_BYTES: Final = 8 * 1024


class Outbox:
    """An opening, then the lines that were put. A reader that is too slow loses its queue and gets a snapshot."""

    def __init__(
        self,
        opening: Iterator[bytes],
        everything: Callable[[str], Iterator[bytes]],
        most_lines: int,
        owes: str | None = None,
    ) -> None:
        """`everything(reason)` returns the lines of a snapshot as of the call; `owes` says why one is due at once."""
        self._opening: Iterator[bytes] | None = opening
        self._everything = everything
        self._most_lines = most_lines
        self._queue: deque[bytes] = deque()
        self._held = b""  # a large line that is next
        self._passed = 0  # lines that left the queue: handed out, or dropped for a snapshot
        self.owes = owes  # why a snapshot is due once the opening has been sent

    @property
    def opened(self) -> bool:
        """Whether the whole opening has been handed out."""
        return self._opening is None and not self._held

    @property
    def waiting(self) -> bool:
        """Whether anything is waiting after the opening."""
        return bool(self._queue or self._held) or self.owes is not None

    @property
    def queued(self) -> int:
        """The number of lines ever queued, also of those that were dropped."""
        return self._passed + len(self._queue)

    def is_through(self, number: int) -> bool:
        """Return whether the first `number` queued lines were handed out, or are covered by a snapshot that was."""
        return self._passed >= number and self.owes is None and self.opened

    def put(self, line: bytes) -> bool:
        """Queue a line, and return whether the reader should wake. When the queue is full, owe a snapshot instead."""
        if self.owes is not None:
            return False
        if len(self._queue) >= self._most_lines:
            self._owe("lagged")
        else:
            self._queue.append(line)
        return True

    def restart(self) -> None:
        """Drop everything unsent: it belongs to a history that is over."""
        self._opening = None
        self._owe("epoch")

    def _owe(self, reason: str) -> None:
        self._passed += len(self._queue)
        self._queue.clear()
        self._held = b""
        self.owes = reason

    def take(self, most_bytes: int = BATCH_BYTES) -> bytes:
        """Return the next bytes to send, bounded in size; empty when there is nothing."""
        return self._taken(self._next, most_bytes)

    def take_opening(self, most_bytes: int = BATCH_BYTES) -> bytes:
        """Return the next bytes of the opening only; empty when it has been sent."""
        return self._taken(self._next_of_opening, most_bytes)

    def _taken(self, next_line: Callable[[], bytes | None], most_bytes: int) -> bytes:
        if self._held:
            large, self._held = self._held, b""
            return large
        taken: list[bytes] = []
        size = 0
        while size < most_bytes and (line := next_line()) is not None:
            if len(line) >= SHARED_BYTES:
                if not taken:
                    return line
                self._held = line
                break
            taken.append(line)
            size += len(line)
        return b"".join(taken)

    def _next_of_opening(self) -> bytes | None:
        if self._opening is None:
            return None
        line = next(self._opening, None)
        if line is None:
            self._opening = None
        return line

    def _next(self) -> bytes | None:
        line = self._next_of_opening()
        if line is None and self.owes is not None:
            self._opening, self.owes = self._everything(self.owes), None
            line = self._next_of_opening()
        if line is None and self._queue:
            line = self._queue.popleft()
            self._passed += 1
        return line
