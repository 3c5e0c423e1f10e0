"""Work that blocks on a disk: in a thread of its own, waited for only so long, and never at the end.

The loop's own executor is waited for when the process ends; a dead network disk would hold that up.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], *, name: str, timeout_s: float) -> T:
    """Return what `work` returns. Raises what it raises, and TimeoutError when it takes longer.

    A thread that is given up goes on; whoever calls this again may find its work half done.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def deliver(tell: Callable[[], None]) -> None:
        if not done.done():
            tell()

    def run() -> None:
        try:
            tell = partial(done.set_result, work())
        except Exception as error:  # noqa: BLE001 - handed on to who waits
            tell = partial(done.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(deliver, tell)

    threading.Thread(target=run, name=name, daemon=True).start()
    async with asyncio.timeout(timeout_s):
        return await done
