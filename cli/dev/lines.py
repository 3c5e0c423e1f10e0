"""The lines of `vertice dev` on standard output, and the end of the one who reads them.

`vertice dev | head` has no reader after ten lines. A write shows that, and between writes a look at the pipe does.
"""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Callable
from typing import Final

from cli.streams import OutputFailed

LOOK_EVERY_S: Final = 0.5


class ReadLines:
    """Prints lines as long as there is a reader."""

    def __init__(self, has_reader: Callable[[], bool] | None = None) -> None:
        """`has_reader` returns whether the other end of standard output is open."""
        self._has_reader = has_reader if has_reader is not None else stdout_has_reader
        self._gone = asyncio.Event()

    def say(self, line: str) -> None:
        """Print a line at once, also into a pipe; nothing once the reader has gone."""
        if self._gone.is_set():
            return
        try:
            print(line, flush=True)
        except (BrokenPipeError, OutputFailed):
            self._gone.set()

    async def unread(self, every_s: float = LOOK_EVERY_S) -> None:
        """Return once the reader has gone."""
        while not self._gone.is_set():
            try:
                async with asyncio.timeout(every_s):
                    await self._gone.wait()
            except TimeoutError:
                if not self._has_reader():
                    self._gone.set()


def stdout_has_reader() -> bool:
    """Return whether the other end of standard output is open; True for a file and a terminal."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # errors are reported without being asked for
        return not any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):  # it is no file at all
        return True
