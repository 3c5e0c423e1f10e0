"""How a drain goes on: who of those that follow the services has taken in that an instance drains.

Every address that is configured is asked, since a replica knows only who follows it and its peers; what they
say is summed up here. A replica that cannot be asked is one that cannot be waited for beyond the limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from typing import Final

import msgspec

from agent.registries.client import RegistryClient
from registry_core.api.drain_schemas import DrainView
from registry_core.domain.backoff import Backoff
from registry_core.domain.records import Registration

AT_ONCE: Final = 16
# An agent acknowledges within a fifth of a second.
ASKING: Final = Backoff(0.05, 0.4)


class DrainProgress(msgspec.Struct, frozen=True, kw_only=True):
    """One instance: so many watchers follow it, so many know; so many replicas could not tell."""

    service_name: str
    instance_id: str
    watchers: int
    acknowledged: int
    silent: int  # replicas that did not answer, or have not heard of it themselves, as far as is known
    confirmed: bool  # everybody knows


def summed(claim: Registration, said: Sequence[DrainView | None]) -> DrainProgress:
    """Return what the replicas together say of one instance."""
    heard = [view for view in said if view is not None]
    # Several addresses may lead to the same replicas; an older registry names none, and counts for itself.
    by_replica = {replica: one for view in heard for replica, one in view.by_replica.items()}
    counts = [(one.watchers, one.acknowledged) for one in by_replica.values()]
    counts += [(view.watchers, view.acknowledged) for view in heard if not view.by_replica]
    watchers, acknowledged = sum(count for count, _ in counts), sum(count for _, count in counts)
    # What one replica could not learn of its peers another one may have.
    knows_all = any(len(view.by_replica) > 1 and not view.silent_replicas for view in heard)
    silent = len(said) - len(heard) + (0 if knows_all else max((view.silent_replicas for view in heard), default=0))
    return DrainProgress(
        service_name=claim.service_name,
        instance_id=claim.instance_id,
        watchers=watchers,
        acknowledged=acknowledged,
        silent=silent,
        confirmed=bool(said) and not silent and acknowledged == watchers,
    )


async def progress(client: RegistryClient, claims: Sequence[Registration]) -> list[DrainProgress]:
    """Return how the drain of each instance goes on, asking for a few at a time."""
    found: dict[int, DrainProgress] = {}
    waiting = iter(enumerate(claims))

    async def work() -> None:
        for number, claim in waiting:  # shared by all workers: each takes the next one
            found[number] = summed(claim, await client.drains(claim))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_ONCE, len(claims))):
            group.create_task(work())
    return [found[number] for number in range(len(claims))]


async def confirmation(client: RegistryClient, claims: Sequence[Registration], limit_s: float) -> list[DrainProgress]:
    """Wait until everybody knows that all of these drain, for `limit_s` at most; return how far it came."""
    latest = {claim.key: summed(claim, ()) for claim in claims}
    waited_for = list(claims)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            for times in itertools.count(1):
                stands = await progress(client, waited_for)
                latest.update({claim.key: one for claim, one in zip(waited_for, stands, strict=True)})
                waited_for = [claim for claim in waited_for if not latest[claim.key].confirmed]
                if not waited_for:
                    break
                await asyncio.sleep(ASKING.wait_s(times))
    return list(latest.values())
