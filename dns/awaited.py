"""Makes answers of what has to be awaited first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def after(awaited: asyncio.Future[T], answer: Callable[[asyncio.Future[T]], bytes | None]) -> asyncio.Future[bytes]:
    """Return a future of what `answer` makes of `awaited` once that is done; cancelled when that is None."""
    later: asyncio.Future[bytes] = awaited.get_loop().create_future()

    def done(_: asyncio.Future[T]) -> None:
        if later.done():
            return
        packed = answer(awaited)
        if packed is None:
            later.cancel()
        else:
            later.set_result(packed)

    awaited.add_done_callback(done)
    return later
