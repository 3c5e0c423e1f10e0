"""Deregisters services: one that the settings no longer name, or all of them when the agent stops.

A leaving service drains at once. It waits only for a registration of its own that has been sent, which must not be
stored after the deregistration. All its other requests are cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from agent.registration.leave import DrainWaits, LeaveTerms, leave
from agent.registration.member import Member
from agent.registries.client import RegistryClient
from registry_core.domain.records import Registration
from registry_core.supervision import Background, end

# Time limit for draining, and for deregistering, a service that leaves while the agent keeps running.
FAREWELL_S: Final = 10.0


class Departures:
    """The leaving services of one session. `waits` returns how long to wait for agents and for DNS."""

    def __init__(self, client: RegistryClient, background: Background, waits: Callable[[], DrainWaits]) -> None:
        self._client = client
        self._background = background
        self._waits = waits
        self._under_way: dict[asyncio.Task[None], Member] = {}

    def take_out(self, member: Member) -> None:
        """Begin to deregister a service while the agent keeps running."""
        waits = self._waits()
        now = asyncio.get_running_loop().time()
        ends_by = now + 2 * FAREWELL_S + waits.most_s
        terms = LeaveTerms(heard_by=now + FAREWELL_S, ends_by=ends_by, waits=waits)
        call_off(member)
        task = self._background.begin("departure", partial(self._take_out, (member,), terms, FAREWELL_S))
        self._under_way[task] = member
        task.add_done_callback(self._under_way.pop)

    def before(self, claim: Registration) -> list[asyncio.Task[None]]:
        """Return the departures of the services that `claim` replaces."""
        return [
            task
            for task, other in ((task, member.claim) for task, member in self._under_way.items())
            if claim.key == other.key or not set(claim.sockets).isdisjoint(other.sockets)
        ]

    def members(self) -> list[Member]:
        """Return the services that are leaving."""
        return list(self._under_way.values())

    async def drain(self, members: Sequence[Member], farewell_s: float) -> None:
        """Deregister all of `members`, within the time limit for stopping an agent.

        Draining is tried for `farewell_s`. `members` must include those that are already leaving; they start over.
        """
        terms = LeaveTerms.at_the_end(asyncio.get_running_loop().time(), farewell_s, self._waits())
        for task in tuple(self._under_way):
            task.cancel()
        for member in members:
            call_off(member)
        ready = [member.claim for member in members if member.known and not member.registering]
        on_their_way = [member for member in members if member.registering]
        tasks = [
            self._background.begin("departure", partial(self._leave, ready, terms)),
            self._background.begin("departure", partial(self._take_out, on_their_way, terms, farewell_s / 2)),
        ]
        try:
            await asyncio.wait(tasks)
        finally:
            await end(tasks)

    async def close(self) -> None:
        """Stop without further requests for the leaving services. Safe to call twice."""
        await end(tuple(self._under_way))

    async def _take_out(self, members: Sequence[Member], terms: LeaveTerms, patience_s: float) -> None:
        """Deregister `members` after their registrations under way, which get `patience_s` to end."""
        requests = [member.request for member in members if member.registering and member.request is not None]
        if requests:
            await asyncio.wait(requests, timeout=patience_s)
            for request in requests:
                request.cancel()
        await self._leave([member.claim for member in members if member.known], terms)

    async def _leave(self, leaving: Sequence[Registration], terms: LeaveTerms) -> None:
        if leaving:
            await leave(self._client, leaving, terms)


def call_off(member: Member) -> None:
    """Cancel the request under way for a service, unless it is a registration that has been sent."""
    if member.request is not None and not member.registering:
        member.request.cancel()
