"""Registers one service, with its current addresses and the epoch that identifies its owner.

All of an agent's claims share one epoch, set before the first one from the registry's time: epochs of two
machines can only be compared if they come from the same clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

import msgspec
import structlog

from agent.hosts.book import HostAddresses
from agent.registration.decisions import RequestOutcome
from agent.registration.identity import StartTime, corrected_epoch, epoch_of, succeeding_epoch
from agent.registration.member import Member
from agent.registration.published import refusal
from agent.registries.client import LeaseTold, RegistryClient, RegistryReply
from registry_core.domain.names import Reach, widest_reach
from registry_core.domain.records import Status
from registry_core.ports.clock import Clock

# If the registry does not tell the time, not every registration asks for it again.
ASK_AGAIN_S: Final = 1.0
# A status set by an operator is sent at once, without waiting for a name server.
HELD_AT: Final = (Status.DRAINING, Status.MAINTENANCE)

_UNKNOWN_REGISTRY: Final = (
    "no name server answers for the registry's host, so that nothing shows whether {ip} means the same machine there"
)

_log = structlog.get_logger(component="agent.session")


async def nothing_kept(epoch: int) -> None:
    """Keep no epoch."""


class Claims:
    """The registrations of one agent. `keep_epoch` stores the epoch for the next run before it is claimed."""

    def __init__(
        self,
        client: RegistryClient,
        hosts: HostAddresses,
        *,
        clock: Clock,
        start: StartTime,
        keep_epoch: Callable[[int], Awaitable[None]] = nothing_kept,
    ) -> None:
        self._client = client
        self._hosts = hosts
        self._clock = clock
        self._start = start
        self._keep_epoch = keep_epoch
        self._is_settled = False
        self._settling = asyncio.Lock()
        self._ask_at = start.monotonic
        self._unanswered = ""  # why no registry answered when it was asked for its time
        self.epoch = epoch_of(start, None, start.monotonic)  # until the registry's time is known

    async def register(self, member: Member, status: Status) -> tuple[RegistryReply, LeaseTold | None]:
        """Register a service; return the reply, and what the registry says of the lease if it was granted."""
        # The known addresses serve while the service takes no traffic.
        if not member.claim.addresses or status not in HELD_AT:
            await self.locate(member)
        addresses = member.published or member.claim.addresses
        member.registered_at = addresses
        refusal = await self._refusal(member, addresses)
        if refusal is not None:
            return refusal, None
        if not member.claimed:
            await self._settle()
            if self._unanswered:
                # The epoch would be by our own clock, and could not be lowered once it is stored.
                return RegistryReply(RequestOutcome.UNAVAILABLE, self._unanswered), None
        # An earlier claim may be stored, and would fence off a lower epoch.
        epoch = member.claim.epoch if member.claimed else self.epoch
        member.claim = msgspec.structs.replace(member.claim, addresses=addresses, epoch=epoch)
        member.claimed = True
        was_known, member.known = member.known, True  # it may be stored even if no answer comes
        reply, lease = await self._send(member, status)
        if reply.outcome is RequestOutcome.FENCED and await self._may_correct(member, reply):
            reply, lease = await self._send(member, status)
        if reply.outcome in (RequestOutcome.FENCED, RequestOutcome.REFUSED, RequestOutcome.UNKNOWN):
            member.known = was_known
        member.owned |= reply.outcome is RequestOutcome.DONE
        return reply, lease

    async def locate(self, member: Member, *, anew: bool = False) -> None:
        """Find out the addresses of a service's host. The last ones stay while there are none.

        They also stay while its name means loopback, as in a broken hosts file, and the registry is elsewhere.
        """
        found = await self._hosts.addresses(member.claim.host, anew=anew)
        known = member.located_at or member.claim.addresses
        if known and (not found or (widest_reach(found) < widest_reach(known) and not await self._is_known_at(found))):
            found = known
        member.located_at = found

    async def _refusal(self, member: Member, addresses: tuple[str, ...]) -> RegistryReply | None:
        """Return a refusal when the addresses mean other machines to clients elsewhere.

        A configured host is no exception. Debian calls each machine 127.0.1.1 in its /etc/hosts.
        """
        if not addresses or await self._is_known_at(addresses):
            return None
        if await self._registries_reach() is None:
            return RegistryReply(RequestOutcome.UNAVAILABLE, _UNKNOWN_REGISTRY.format(ip=addresses[0]))
        because = refusal(member.claim.host, addresses, chosen=member.spec.has_own_host)
        return RegistryReply(RequestOutcome.REFUSED, because)

    async def _is_known_at(self, addresses: tuple[str, ...]) -> bool:
        """Return whether addresses mean the same machine here and at every registry."""
        reach = widest_reach(addresses)
        if reach is Reach.ANYWHERE:
            return True
        needed = await self._registries_reach()
        return needed is not None and reach >= needed

    async def _registries_reach(self) -> Reach | None:
        """Return the widest reach of a registry's addresses: it serves at most clients of that reach.

        None while it is unknown, because a name is not resolved.
        """
        hosts = {urlsplit(url).hostname or "" for url in self._client.urls}
        found = [await self._hosts.addresses(host) for host in hosts]
        widest = widest_reach(address for addresses in found for address in addresses)
        return widest if widest is Reach.ANYWHERE or (found and all(found)) else None

    async def _send(self, member: Member, status: Status) -> tuple[RegistryReply, LeaseTold | None]:
        member.registering = True
        try:
            claim = msgspec.structs.replace(member.claim, status=status)
            return await self._client.register(claim, passing=member.passes and status is Status.PASSING)
        finally:
            member.registering = False

    async def _settle(self) -> None:
        """Ask for the registry's time, from which the epoch of claims follows, if it is not known yet."""
        async with self._settling:
            if self._is_settled or self._clock.monotonic() < self._ask_at:
                return
            told = await self._client.time()
            now = self._clock.monotonic()
            self._is_settled, self._ask_at = told.unix is not None, now + ASK_AGAIN_S
            self._unanswered = told.unanswered
            if not told.unanswered:
                self.epoch = epoch_of(self._start, told.unix, now)
                await self._keep_epoch(self.epoch)

    async def _may_correct(self, member: Member, reply: RegistryReply) -> bool:
        """Raise the epoch if this agent started later than the owner by the registry's clock, or the owner has left.

        The first is decided once. An agent that has owned the service does not take it back while it has an owner: it
        was there before that one came.
        """
        if reply.newer_epoch is None:
            return False
        if reply.is_free:
            epoch: int | None = succeeding_epoch(self.epoch, reply.newer_epoch)
        elif member.owned or member.corrected:
            return False
        else:
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
