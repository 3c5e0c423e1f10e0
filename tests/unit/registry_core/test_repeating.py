"""Background work of a replica that is repeated, whatever becomes of the store."""

from __future__ import annotations

import asyncio
from typing import Any

from structlog.testing import capture_logs

from registry_core.errors import StoreUnavailable
from registry_core.repeating import repeat
from tests.samples import FakeClock


async def test_an_unreachable_store_is_logged_now_and_then_and_once_when_it_returns() -> None:
    clock = FakeClock()
    tried = 0
    done = asyncio.Event()

    async def work() -> None:
        nonlocal tried
        tried += 1
        clock.pass_time(1)
        if tried <= 100:
            raise StoreUnavailable("no master is known")
        done.set()

    with capture_logs() as lines:
        loop = asyncio.create_task(repeat("sweep", work, lambda: 0.0, clock))
        async with asyncio.timeout(20):
            await done.wait()
            await asyncio.sleep(0)
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
    told: list[Any] = [(line["event"], line["failures"]) for line in lines]
    assert told == [
        ("store unavailable", 1),
        ("store unavailable", 30),
        ("store unavailable", 30),
        ("store unavailable", 30),
        ("store available again", 100),
    ]
