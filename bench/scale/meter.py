"""Reads what programs use while requests come at a pace, beyond what they use without."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from bench.scale.crowd import Exchanged, paced
from bench.scale.rig import Rig, Used

IDLE_S: Final = 8.0
# What is read from Redis in rounds of five seconds has been read by then.
SETTLED_S: Final = 6.0


async def idle_share(rig: Rig, seconds: float = IDLE_S) -> Used:
    """Return what is used in each idle second."""
    before = rig.used()
    await asyncio.sleep(seconds)
    found = rig.used().since(before)
    return Used(
        tuple(each / seconds for each in found.cpu_us),
        found.redis_us / seconds,
        found.redis_octets / seconds,
        found.redis_bytes / seconds,
    )


async def beyond(
    rig: Rig,
    quiet: Used,
    port: int,
    requests: Sequence[bytes],
    per_s: float,
    *,
    anew: bool = False,
    status: bytes = b"200",
    settled_s: float = 1.0,
) -> tuple[Used, Exchanged]:
    """Return what these requests use beyond the idle share `quiet`, until everything about them has settled."""
    loop = asyncio.get_running_loop()
    before, began = rig.used(), loop.time()
    sent = await paced(port, requests, per_s, anew=anew, status=status)
    await asyncio.sleep(settled_s)
    found, took_s = rig.used().since(before), loop.time() - began
    extra = Used(
        tuple(used - each * took_s for used, each in zip(found.cpu_us, quiet.cpu_us, strict=True)),
        found.redis_us - quiet.redis_us * took_s,
        found.redis_octets - quiet.redis_octets * took_s,
        found.redis_bytes,
    )
    return extra, sent
