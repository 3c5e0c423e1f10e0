"""The lines that many readers get, kept once for all of them: each reader is a number in it. Pure.

A line has a number, from 0 on. Only those that some reader lacks have to be kept, and of those no more than fit: a
reader that lacks older ones is too slow, and gets a snapshot.
"""

from __future__ import annotations

from collections import deque
from itertools import islice


class WatchFeed:
    """The latest lines, bounded in number and bytes."""

    __slots__ = ("_bytes", "_lines", "_most_bytes", "_most_lines", "start")

    def __init__(self, most_lines: int, most_bytes: int) -> None:
        self.start = 0  # the number of the oldest line that is kept
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._most_lines = most_lines
        self._most_bytes = most_bytes

    @property
    def end(self) -> int:
        """The number of the next line."""
        return self.start + len(self._lines)

    def put(self, line: bytes) -> None:
        """Add a line, and drop the oldest ones that no longer fit."""
        self._lines.append(line)
        self._bytes += len(line)
        while len(self._lines) > self._most_lines or (self._bytes > self._most_bytes and len(self._lines) > 1):
            self._drop()

    def forget(self, before: int) -> None:
        """Drop the lines before this number: every reader has them."""
        while self._lines and self.start < before:
            self._drop()

    def line(self, number: int) -> bytes:
        """Return the line of this number, from `start` on and before `end`."""
        return self._lines[number - self.start]

    def batch(self, number: int, end: int, most_bytes: int) -> tuple[int, bytes]:
        """Return lines from this number on, up to `end`, as many as fit but at least one; and the number after them."""
        taken: list[bytes] = []
        size = 0
        for line in islice(self._lines, number - self.start, end - self.start):
            size += len(line)
            if taken and size > most_bytes:
                break
            taken.append(line)
        return number + len(taken), taken[0] if len(taken) == 1 else b"".join(taken)

    def _drop(self) -> None:
        self._bytes -= len(self._lines.popleft())
        self.start += 1
