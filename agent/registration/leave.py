"""How an agent leaves: it says `draining`, waits until others have heard of it, and takes its services out.

Others means the agents that follow the registry: each acknowledges that it answers without the instance.
What was answered before is good for the TTL of its DNS records, so that time passes as well.

Bounded in time whatever the registry does. What cannot be said is left to the leases, which run out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from agent.registration.decisions import RequestOutcome
from agent.registration.drain_progress import DrainProgress, confirmation
from agent.registries.client import RegistryClient, RegistryReply
from registry_core.domain.records import Registration, Status

AT_ONCE: Final = 16
RETRY_S: Final = 0.2
# What is said again: nobody answered, or another request of ours was taken before this one.
AGAIN: Final = (RequestOutcome.UNAVAILABLE, RequestOutcome.LATE)

_log = structlog.get_logger(component="agent.session")


async def leave(
    client: RegistryClient,
    leaving: Sequence[Registration],
    *,
    confirm_s: float,
    drain_wait_s: float,
    ends_at: float,
    limit_s: float,
) -> None:
    """Drain and deregister `leaving`.

    The first word has to be heard before `ends_at` (the loop's time), else nothing more is tried; the
    last one is given `limit_s`. Between them all agents are given `confirm_s` to acknowledge, and
    `drain_wait_s` pass in any case.
    """
    loop = asyncio.get_running_loop()
    heard = await tell_all(leaving, lambda claim: client.set_status(claim, Status.DRAINING), ends_at)
    _log.info("draining", services=len(leaving), confirmed=heard)
    if not heard:
        _log.warning("left_without_farewell", services=len(leaving))
        return
    if confirm_s > 0:
        _note(await confirmation(client, leaving, confirm_s))
    await asyncio.sleep(drain_wait_s)
    gone = await tell_all(leaving, client.deregister, loop.time() + limit_s)
    _log.info("deregistered", services=len(leaving), confirmed=gone)


def _note(stands: Sequence[DrainProgress]) -> None:
    missing = [one for one in stands if not one.confirmed]
    if not missing:
        _log.info("drain_confirmed", services=len(stands), watchers=max(one.watchers for one in stands))
        return
    worst = max(missing, key=lambda one: (one.silent, one.watchers - one.acknowledged))
    _log.warning(
        "drain_not_confirmed",
        services=len(missing),
        watchers=worst.watchers,
        acknowledged=worst.acknowledged,
        silent_registries=worst.silent,
    )


async def tell_all(
    leaving: Sequence[Registration], tell: Callable[[Registration], Awaitable[RegistryReply]], ends_at: float
) -> int:
    """Have `tell` succeed for all before `ends_at`, and return for how many it did.

    That the registry does not know one any more, or that it is somebody else's, is success too.
    """
    waiting = iter(leaving)
    heard = 0

    async def work() -> None:
        nonlocal heard
        for claim in waiting:  # shared by all workers: each takes the next one
            while (await tell(claim)).outcome in AGAIN:  # noqa: ASYNC110 - nothing tells when it is back
                await asyncio.sleep(RETRY_S)
            heard += 1

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(ends_at), asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(leaving))):
                group.create_task(work())
    return heard
