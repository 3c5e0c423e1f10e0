"""Large answers that nobody reads: how many there may be at once, and which one goes when there are more. Pure.

A reader that stops reading costs a connection with full buffers until its time is up. Somebody who opens thousands of
those would take the memory of the system, so only so many may be unread; beyond that, a newcomer takes the place of the
one that has not read for the longest time, or is refused when all of them have read a moment ago.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from registry_core.errors import Overloaded
from registry_core.ports.clock import Clock

# A reader behind a slow line gets the next piece within this time, even while a whole fleet reads.
PATIENCE_S: Final = 5.0
RETRY_AFTER_S: Final = 2.0


class UnreadAnswers:
    """The answers of which a piece waits to be read. At most `most` at once."""

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = most
        self._clock = clock
        self._waiting: dict[int, tuple[float, Callable[[], None]]] = {}  # the longest wait first
        self._next = 0
        self.closed = 0
        self.refused = 0

    def __len__(self) -> int:
        """The number of answers that wait to be read."""
        return len(self._waiting)

    def admit(self) -> None:
        """Make room for one more answer. Raises Overloaded when there is none."""
        if not self.makes_room():
            self.refused += 1
            raise Overloaded(
                f"this replica sends large answers to {self._most} slow readers already", retry_after_s=RETRY_AFTER_S
            )

    def makes_room(self) -> bool:
        """Return whether there is room for one more answer, for which the one that waits longest may be closed."""
        return len(self._waiting) < self._most or self._close_oldest()

    def waits(self, close: Callable[[], None]) -> int:
        """Note that a piece of an answer is handed to its connection; return a number for `was_read`.

        `close` closes the connection, if its place is needed before the piece was read.
        """
        if len(self._waiting) >= self._most:
            self._close_oldest()
        self._next += 1
        self._waiting[self._next] = (self._clock.monotonic(), close)
        return self._next

    def was_read(self, number: int) -> None:
        """The piece of that number was read, or its connection is gone."""
        self._waiting.pop(number, None)

    def _close_oldest(self) -> bool:
        for number, (since, close) in self._waiting.items():
            if self._clock.monotonic() - since < PATIENCE_S:
                return False
            del self._waiting[number]
            self.closed += 1
            close()
            return True
        return False
