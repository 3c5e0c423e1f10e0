"""Repeats a replica's background work; an unavailable store is logged, thinned, and ends no loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from registry_core.errors import Unavailable
from registry_core.ports.clock import Clock
from registry_core.telemetry.log_thinning import Thinning

log = structlog.get_logger()


async def repeat(
    name: str,
    work: Callable[[], Awaitable[None]],
    every_s: Callable[[], float],
    clock: Clock,
    *,
    at_once: bool = False,
) -> None:
    """Repeat `work` for ever, `every_s()` seconds after it has ended. Raises what `work` raises, but Unavailable."""
    thinning = Thinning()
    if not at_once:
        await asyncio.sleep(every_s())
    while True:
        try:
            await work()
        except Unavailable as error:
            failures = thinning.failed(error.message, clock.monotonic())
            if failures is not None:
                log.warning("store unavailable", loop=name, reason=error.message, failures=failures)
        else:
            end = thinning.succeeded(clock.monotonic())
            if end is not None:
                lasted_s = round(end.lasted_s, 1)
                log.info("store available again", loop=name, failures=end.failures, lasted_s=lasted_s)
        await asyncio.sleep(every_s())
