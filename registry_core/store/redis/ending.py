"""The end of a task that reads and writes sockets, made sure of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

# Until Python 3.12, `asyncio.wait_for` loses a cancellation that arrives in the turn in which what it waits for
# is done, and redis-py sends through it: the task goes on as if nobody had asked it to end.
_AGAIN_AFTER_S: Final = 0.1
_MOST_TRIES: Final = 50


async def end(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    """Cancel the tasks until they have ended; what they raise is of no interest any more."""
    left = {task for task in tasks if task is not None}
    for _ in range(_MOST_TRIES):
        left = {task for task in left if not task.done()}
        if not left:
            return
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_AGAIN_AFTER_S)
