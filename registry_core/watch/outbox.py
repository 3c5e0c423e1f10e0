"""What one reader has not got yet: an opening of its own, then the lines of a feed. Pure.

`api/watch.py` sends from it; once the opening has been sent, `api/fanout.py` writes the feed's lines to many readers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from registry_core.watch.feed import WatchFeed

# How much to hand to a connection at a time; a snapshot is encoded only as fast as it is read.
BATCH_BYTES: Final = 64 * 1024
# A line of this size is handed out by itself, not copied into a batch: all its readers share it.
SHARED_BYTES: Final = 8 * 1024


class Outbox:
    """An opening, then the lines of `feed` that were put since. A reader that is too slow for it gets a snapshot."""

    __slots__ = ("_everything", "_held", "_opening", "_owes", "feed", "position")

    def __init__(
        self,
        opening: Iterator[bytes],
        everything: Callable[[str], Iterator[bytes]],
        feed: WatchFeed,
        owes: str | None = None,
    ) -> None:
        """`everything(reason)` returns the lines of a snapshot as of the call; `owes` says why one is due at once."""
        self._opening: Iterator[bytes] | None = opening
        self._everything = everything
        self.feed = feed
        self.position = feed.end  # the number of the next line of the feed
        self._held = b""  # a large line that is next
        self._owes = owes

    @property
    def owes(self) -> str | None:
        """Why a snapshot is due once the opening has been sent; None when it is not."""
        if self._owes is None and self.position < self.feed.start:
            return "lagged"
        return self._owes

    @property
    def opened(self) -> bool:
        """Whether the whole opening has been handed out."""
        return self._opening is None and not self._held

    @property
    def waiting(self) -> bool:
        """Whether anything is waiting after the opening."""
        return bool(self._held) or self.position < self.feed.end or self._owes is not None

    def is_through(self, number: int) -> bool:
        """Return whether the feed's lines before `number` were handed out, or are covered by a snapshot that was."""
        return self.position >= number and self._owes is None and self.opened

    def restart(self) -> None:
        """Drop everything unsent: it belongs to a history that is over."""
        self._opening, self._held = None, b""
        self._owes, self.position = "epoch", self.feed.end

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
        if line is None and (reason := self.owes) is not None:
            self._opening, self._owes, self.position = self._everything(reason), None, self.feed.end
            line = self._next_of_opening()
        if line is None and self.position < self.feed.end:
            line = self.feed.line(self.position)
            self.position += 1
        return line
