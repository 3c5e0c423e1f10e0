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

import msgspec
import structlog

from agent.registration.decisions import RequestOutcome
from agent.registration.drain_progress import DrainProgress, confirmation
from agent.registries.client import RegistryClient, RegistryReply
from registry_core.domain.records import Registration, Status

# The end of an agent is to take less than the 10 s that Docker gives it; what follows the farewell needs a second.
STOP_S: Final = 8.5
# The last word has so long at least, whatever came before.
LAST_WORD_S: Final = 0.5
AT_ONCE: Final = 16
RETRY_S: Final = 0.2
# What is said again: nobody answered, or another request of ours was taken before this one.
AGAIN: Final = (RequestOutcome.UNAVAILABLE, RequestOutcome.LATE)

_log = structlog.get_logger(component="agent.session")


class LeaveTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How long leaving may take: until when the first word is tried and all is over, by the loop's time."""

    heard_by: float
    ends_by: float
    confirm_s: float  # for all agents to acknowledge, at most
    wait_s: float  # for DNS answers of before to run out

    @classmethod
    def at_the_end(cls, now: float, farewell_s: float, confirm_s: float, wait_s: float) -> LeaveTerms:
        """Return the terms of an agent that ends: it takes STOP_S at most, unless its settings alone ask for more."""
        most_s = max(STOP_S, confirm_s + wait_s + LAST_WORD_S)
        heard_by = now + min(farewell_s, most_s - LAST_WORD_S)
        return cls(heard_by=heard_by, ends_by=now + most_s, confirm_s=confirm_s, wait_s=wait_s)

    def confirms_for_s(self, now: float) -> float:
        """Return how long agents are waited for: what was heard late leaves less time, and DNS has its own first."""
        return max(0.0, min(self.confirm_s, self.ends_by - LAST_WORD_S - self.wait_s - now))

    def waits_for_s(self, now: float) -> float:
        """Return how long DNS answers of before are waited for."""
        return max(0.0, min(self.wait_s, self.ends_by - LAST_WORD_S - now))


async def leave(client: RegistryClient, leaving: Sequence[Registration], terms: LeaveTerms) -> None:
    """Drain and deregister `leaving`, within `terms`. When the first word is not heard, nothing more is tried."""
    loop = asyncio.get_running_loop()
    heard = await tell_all(leaving, lambda claim: client.set_status(claim, Status.DRAINING), terms.heard_by)
    _log.info("draining", services=len(leaving), confirmed=heard)
    if not heard:
        _log.warning("left_without_farewell", services=len(leaving))
        return
    confirm_s = terms.confirms_for_s(loop.time())
    if confirm_s > 0:
        _note(await confirmation(client, leaving, confirm_s))
    await asyncio.sleep(terms.waits_for_s(loop.time()))
    gone = await tell_all(leaving, client.deregister, terms.ends_by)
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
