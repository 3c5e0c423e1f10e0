"""Measures the progress of a drain: how many watchers have acknowledged that an instance drains.

Every configured address is asked, since a replica knows only its own watchers and those of its peers; their
answers are summed up here. A replica that does not answer is waited for until the time limit.
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
    """The drain of one instance: watchers, those that acknowledged it, and replicas that could not tell."""

    service_name: str
    instance_id: str
    watchers: int
    acknowledged: int
    silent: int  # replicas that did not answer or have not seen the drain themselves
    confirmed: bool  # every watcher has acknowledged it


def summed(claim: Registration, said: Sequence[DrainView | None]) -> DrainProgress:
    """Return the combined answer of the replicas for one instance."""
    heard = [view for view in said if view is not None]
    # Several addresses may lead to the same replica; an older registry names none and counts separately.
    by_replica = {replica: one for view in heard for replica, one in view.by_replica.items()}
    counts = [(one.watchers, one.acknowledged) for one in by_replica.values()]
    counts += [(view.watchers, view.acknowledged) for view in heard if not view.by_replica]
    watchers, acknowledged = sum(count for count, _ in counts), sum(count for _, count in counts)
    # One replica may have reached peers that another one could not.
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
    """Return the progress of each instance's drain, asking for a few at a time."""
    found: dict[int, DrainProgress] = {}
    waiting = iter(enumerate(claims))

    async def work() -> None:
        for number, claim in waiting:  # shared by the workers: each takes the next one
            found[number] = summed(claim, await client.drains(claim))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_ONCE, len(claims))):
            group.create_task(work())
    return [found[number] for number in range(len(claims))]


async def confirmation(client: RegistryClient, claims: Sequence[Registration], limit_s: float) -> list[DrainProgress]:
    """Wait up to `limit_s` until all watchers have acknowledged these drains; return the progress."""
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
