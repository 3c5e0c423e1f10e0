"""Reads what programs use while requests come at a pace, beyond what they use without.

Other programs of the machine only add to what is read, at times. So each measurement is made several times, idle and
under load in turn, and its median counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

from bench.scale.crowd import Exchanged, paced
from bench.scale.rig import Rig, Used

IDLE_S: Final = 2.0
ROUNDS: Final = 3
# What is read from Redis in rounds of five seconds has been read by then.
SETTLED_S: Final = 5.5


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


async def middle_idle(rig: Rig, seconds: float = IDLE_S, rounds: int = ROUNDS) -> Used:
    """Return the median of several idle shares."""
    return _median([await idle_share(rig, seconds) for _ in range(rounds)])


async def beyond(
    rig: Rig,
    port: int,
    requests: Callable[[int], Sequence[bytes]],
    per_s: float,
    *,
    anew: bool = False,
    status: bytes = b"200",
    settled_s: float = 0.5,
) -> tuple[Used, Exchanged]:
    """Return what each request uses beyond the idle share, and what was sent; `requests` has those of a round."""
    loop = asyncio.get_running_loop()
    found: list[Used] = []
    sent = Exchanged()
    for number in range(ROUNDS):
        quiet = await idle_share(rig)
        asked = requests(number)
        before, began = rig.used(), loop.time()
        done = await paced(port, asked, per_s, anew=anew, status=status)
        await asyncio.sleep(settled_s)
        found.append(_each(rig.used().since(before), quiet, loop.time() - began, len(asked)))
        sent.requests += done.requests
        sent.octets += done.octets
    return _median(found), sent


def _each(used: Used, quiet: Used, took_s: float, requests: int) -> Used:
    return Used(
        tuple((now - each * took_s) / requests for now, each in zip(used.cpu_us, quiet.cpu_us, strict=True)),
        (used.redis_us - quiet.redis_us * took_s) / requests,
        (used.redis_octets - quiet.redis_octets * took_s) / requests,
        used.redis_bytes / requests,
    )


def _median(found: Sequence[Used]) -> Used:
    """Return the median of each figure, and nothing below zero."""
    return Used(
        tuple(max(0.0, median(each)) for each in zip(*(used.cpu_us for used in found), strict=True)),
        max(0.0, median(used.redis_us for used in found)),
        max(0.0, median(used.redis_octets for used in found)),
        median(used.redis_bytes for used in found),
    )
