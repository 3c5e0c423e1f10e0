"""Registers one service: at its addresses of now, and with the epoch that tells its owner from others.

All of an agent's claims have one epoch, found before the first of them: what time the registry has is asked for
then, since the epochs of two machines can be compared only when one clock told them both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from agent.registration.decisions import RequestOutcome
from agent.registration.identity import StartTime, corrected_epoch, epoch_of
from agent.registration.member import Member
from agent.registries.client import RegistryClient, RegistryReply
from registry_core.domain.records import Registration, Status
from registry_core.ports.clock import Clock
from registry_core.resolution import HostResolver

# A registry that does not tell the time is not asked for it again with each registration.
ASK_AGAIN_S: Final = 1.0
# What people hold services at is told at once, and waits for no name server.
HELD_AT: Final = (Status.DRAINING, Status.MAINTENANCE)

_log = structlog.get_logger(component="agent.session")


async def nothing_kept(epoch: int) -> None:
    """Keep no epoch."""


class Claims:
    """The registrations of one agent. `keep_epoch` is to keep the epoch for the next run, before it is claimed."""

    def __init__(
        self,
        client: RegistryClient,
        resolver: HostResolver,
        *,
        clock: Clock,
        start: StartTime,
        keep_epoch: Callable[[int], Awaitable[None]] = nothing_kept,
    ) -> None:
        self._client = client
        self._resolver = resolver
        self._clock = clock
        self._start = start
        self._keep_epoch = keep_epoch
        self._is_settled = False
        self._settling = asyncio.Lock()
        self._ask_at = start.monotonic
        self.epoch = epoch_of(start, None, start.monotonic)  # until the registry has told the time

    async def register(self, member: Member, status: Status) -> tuple[RegistryReply, float | None]:
        """Register a service; return what it came to, and the TTL of its lease when it was granted."""
        addresses = await self._addresses(member.claim, status)
        member.registered_at = addresses
        # What was claimed before may be stored, so that a lower epoch would be fenced off by it.
        epoch = member.claim.epoch if member.claimed else await self._settled()
        member.claim = msgspec.structs.replace(member.claim, addresses=addresses, epoch=epoch)
        member.claimed = True
        was_known, member.known = member.known, True  # it may be stored although no answer ever comes
        reply, ttl_s = await self._send(member, status)
        if reply.outcome is RequestOutcome.FENCED and await self._may_correct(member, reply):
            reply, ttl_s = await self._send(member, status)
        if reply.outcome in (RequestOutcome.FENCED, RequestOutcome.REFUSED, RequestOutcome.UNKNOWN):
            member.known = was_known
        member.owned |= reply.outcome is RequestOutcome.DONE
        return reply, ttl_s

    async def _send(self, member: Member, status: Status) -> tuple[RegistryReply, float | None]:
        member.registering = True
        try:
            return await self._client.register(msgspec.structs.replace(member.claim, status=status))
        finally:
            member.registering = False

    async def _addresses(self, claim: Registration, status: Status) -> tuple[str, ...]:
        """Return the addresses of a host; the known ones when a name server is away, or nobody is to be sent there."""
        if claim.addresses and status in HELD_AT:
            return claim.addresses
        return await self._resolver.addresses(claim.host) or claim.addresses

    async def _settled(self) -> int:
        """Return the epoch of claims, after asking the registry for the time if it has not told it yet."""
        async with self._settling:
            if not self._is_settled and self._clock.monotonic() >= self._ask_at:
                told = await self._client.time()
                now = self._clock.monotonic()
                self._is_settled, self._ask_at = told is not None, now + ASK_AGAIN_S
                self.epoch = epoch_of(self._start, told, now)
                await self._keep_epoch(self.epoch)
        return self.epoch

    async def _may_correct(self, member: Member, reply: RegistryReply) -> bool:
        """Have a service claimed anew as started later than its owner, if the registry's clock says so. Asked once.

        Whoever has owned it before takes nothing back: it was there when the other one came.
        """
        if member.owned or member.corrected or reply.newer_epoch is None:
            return False
        member.corrected = True
        now = self._clock.monotonic()
        epoch = corrected_epoch(self._start, reply.registry_time, now, newer=reply.newer_epoch)
        if epoch is None:
            return False
        claim = member.claim
        _log.info("epoch_corrected", service=claim.service_name, instance=claim.instance_id, epoch=epoch)
        member.claim = msgspec.structs.replace(claim, epoch=epoch)
        await self._keep_epoch(epoch)
        return True
