"""Leaves the registry: sets services to `draining`, waits for the other agents, and deregisters the services.

Each agent that follows the registry acknowledges that it answers without the instance: SRV, too, which first names
it with weight 0 for a moment. Earlier DNS answers are valid for their TTL, so that time must pass as well.
Bounded in time whatever the registry does. If it cannot be reached, the leases expire.
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
from registry_core.telemetry.spans import traced

# An agent must stop within Docker's 10 s; what follows the deregistration needs a second.
STOP_S: Final = 8.5
# The least time for deregistering, whatever came before.
LAST_WORD_S: Final = 0.5
AT_ONCE: Final = 16
RETRY_S: Final = 0.2
# Retried: no answer, or a newer request of ours was applied first.
AGAIN: Final = (RequestOutcome.UNAVAILABLE, RequestOutcome.LATE, RequestOutcome.LIMITED)

_log = structlog.get_logger(component="agent.session")


class DrainWaits(msgspec.Struct, frozen=True, kw_only=True):
    """The waits of a drain, in seconds."""

    confirm_s: float  # at most, for all agents to acknowledge
    srv_s: float  # how long SRV answers go on to name the instance, with weight 0
    wait_s: float  # after both, for earlier DNS answers to expire

    @property
    def most_s(self) -> float:
        """The longest time from the drain to the deregistration."""
        return max(self.confirm_s, self.srv_s if self.wait_s else 0.0) + self.wait_s


class LeaveTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How long leaving may take: the deadlines of draining and of everything, by the loop's time."""

    heard_by: float
    ends_by: float
    waits: DrainWaits

    @classmethod
    def at_the_end(cls, now: float, farewell_s: float, waits: DrainWaits) -> LeaveTerms:
        """Return the terms of an agent that stops: STOP_S at most, unless its settings ask for more."""
        most_s = max(STOP_S, waits.most_s + LAST_WORD_S)
        heard_by = now + min(farewell_s, most_s - LAST_WORD_S)
        return cls(heard_by=heard_by, ends_by=now + most_s, waits=waits)

    def confirms_for_s(self, now: float) -> float:
        """Return how long to wait for agents: less after a late drain, and the time for DNS is reserved first."""
        return max(0.0, min(self.waits.confirm_s, self.ends_by - LAST_WORD_S - self.waits.wait_s - now))

    def waits_for_s(self, now: float, drained_at: float) -> float:
        """Return how long to wait for DNS answers to expire.

        SRV answers name the instances for `waits.srv_s` after `drained_at`, when they began to drain.
        """
        if not self.waits.wait_s:
            return 0.0
        named_until = max(now, drained_at + self.waits.srv_s)
        return max(0.0, min(named_until + self.waits.wait_s, self.ends_by - LAST_WORD_S) - now)


@traced("agent.leave")
async def leave(client: RegistryClient, leaving: Sequence[Registration], terms: LeaveTerms) -> None:
    """Drain and deregister `leaving`, within `terms`. Gives up if no drain reaches the registry."""
    loop = asyncio.get_running_loop()
    heard = await tell_all(leaving, lambda claim: client.set_status(claim, Status.DRAINING), terms.heard_by)
    _log.info("draining", services=len(leaving), confirmed=heard)
    if not heard:
        _log.warning("left_without_farewell", services=len(leaving))
        return
    drained_at = loop.time()
    confirm_s = terms.confirms_for_s(drained_at)
    if confirm_s > 0:
        _note(await confirmation(client, leaving, confirm_s))
    await asyncio.sleep(terms.waits_for_s(loop.time(), drained_at))
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
    """Call `tell` for each claim until it succeeds or `ends_at` has passed; return how many succeeded.

    An instance that the registry no longer knows, or that another agent owns, counts as success.
    """
    waiting = iter(leaving)
    heard = 0

    async def work() -> None:
        nonlocal heard
        for claim in waiting:  # shared by the workers: each takes the next one
            while (await tell(claim)).outcome in AGAIN:  # noqa: ASYNC110 - nothing tells when it is back
                await asyncio.sleep(RETRY_S)
            heard += 1

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(ends_at), asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, len(leaving))):
                group.create_task(work())
    return heard
