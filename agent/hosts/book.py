"""The address book: the last known addresses of each host name that the agent uses.

Registrations, checks and connections all ask it, so that what is registered is what is checked. A name is looked up
when it is asked for and its last answer is no longer fresh. All callers share one lookup of a name. They wait for it
for a limited time, and then get the last known addresses; the lookup goes on, and its answer serves the next caller.
Only an answer that there is no such name removes addresses; silence never does.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final, Protocol

import msgspec
import structlog

from agent.hosts.found import UNANSWERED, FoundAddresses, by_family, merged
from registry_core.domain import names
from registry_core.ports.clock import Clock
from registry_core.resolution import NotResolved, usable
from registry_core.supervision import Background, end
from registry_core.telemetry.log_thinning import Thinning

# Names that are remembered: more than an agent's services, registries and fallbacks have.
MAX_NAMES: Final = 4096

_log = structlog.get_logger(component="agent.hosts")

LookUp = Callable[[str], Awaitable[FoundAddresses]]


class BookPatience(msgspec.Struct, frozen=True, kw_only=True):
    """How long callers wait for a lookup. Seconds, since the lookup began."""

    # glibc asks its second name server after 5 s.
    first_s: float = 6.0
    # With a known address, a silent name server must not delay each check and each connection.
    known_s: float = 0.25
    # How long an answer counts as fresh: its TTL, within these limits. Docker's TTL is 600 s, and a container may have
    # a new address before.
    fresh_least_s: float = 1.0
    fresh_most_s: float = 5.0


class HostAddresses(Protocol):
    """Gives the addresses of host names."""

    async def located(self, host: str) -> tuple[str, ...]:
        """Return the addresses of `host` that a registration may hold, sorted: at least one.

        Raises socket.gaierror when there is none (EAI_NONAME), or when none is known (EAI_AGAIN).
        """
        ...

    async def addresses(self, host: str, *, anew: bool = False) -> tuple[str, ...]:
        """Return the same addresses; none when there is none, or none is known. `anew`: no fresh answer will do."""
        ...


class _KnownHost:
    """One name: what is known of it, and the lookup that runs."""

    __slots__ = ("began", "fresh_until", "known", "lookup")

    def __init__(self) -> None:
        self.known: FoundAddresses = UNANSWERED
        self.fresh_until = float("-inf")
        self.lookup: asyncio.Task[None] | None = None
        self.began = 0.0


class AddressBook:
    """The addresses of host names, found with `look_up`, which must end in bounded time. Call `close` at the end."""

    def __init__(
        self,
        look_up: LookUp,
        *,
        clock: Clock,
        background: Background | None = None,
        patience: BookPatience | None = None,
    ) -> None:
        self._look_up = look_up
        self._clock = clock
        self._background = background if background is not None else Background(clock)
        self._patience = patience if patience is not None else BookPatience()
        self._entries: dict[str, _KnownHost] = {}
        self._thinning = Thinning()

    async def find(self, host: str, *, anew: bool = False) -> tuple[str, ...]:
        """Return all addresses of `host`, IPv6 first. With `anew`, it is looked up even if its answer is fresh.

        Raises socket.gaierror when there is no such name (EAI_NONAME), or when no name server has answered and no
        address was ever known (EAI_AGAIN).
        """
        if names.ip_address(host) is not None:
            return (host,)
        entry = await self._entry(host)
        if anew or self._clock.monotonic() >= entry.fresh_until:
            await self._wait(host, entry)
        addresses = entry.known.addresses
        if addresses:
            return addresses
        if entry.known.is_whole:
            raise NotResolved(socket.EAI_NONAME, f"{host} is a name without addresses")
        raise NotResolved(socket.EAI_AGAIN, f"{host} is not resolved: no name server answers")

    async def located(self, host: str, *, anew: bool = False) -> tuple[str, ...]:
        """Return the addresses of `host` that a registration may hold, sorted: at least one.

        Raises socket.gaierror when there is none (EAI_NONAME), or when none is known (EAI_AGAIN).
        """
        addresses = usable(await self.find(host, anew=anew))
        if not addresses:
            raise NotResolved(socket.EAI_NONAME, f"{host} has no address that others can connect to")
        return addresses

    async def addresses(self, host: str, *, anew: bool = False) -> tuple[str, ...]:
        """Return the same addresses; none when there is none, or none is known. `anew`: no fresh answer will do."""
        try:
            return await self.located(host, anew=anew)
        except OSError:
            return ()

    async def recall(self, host: str, addresses: Iterable[str]) -> None:
        """Take over the addresses that a name had in an earlier run, until it is looked up."""
        entry = await self._entry(host)
        if entry.known == UNANSWERED:
            found = by_family(addresses)
            # A family that it lacked may be there by now.
            entry.known = FoundAddresses(found.ipv4 or None, found.ipv6 or None)

    async def close(self) -> None:
        """End the lookups that run. Safe to call twice."""
        await end([entry.lookup for entry in self._entries.values()])

    async def _entry(self, host: str) -> _KnownHost:
        # The name that has not been asked for the longest comes first, and is forgotten first.
        entry = self._entries.pop(host, None)
        if entry is None:
            entry = _KnownHost()
            if len(self._entries) >= MAX_NAMES:
                oldest = next(iter(self._entries))
                await end([self._entries.pop(oldest).lookup])
        self._entries[host] = entry
        return entry

    async def _wait(self, host: str, entry: _KnownHost) -> None:
        """Wait for the lookup of a name, which is begun if none runs."""
        if entry.lookup is None:
            entry.began = self._clock.monotonic()
            entry.lookup = self._background.begin("look up", partial(self._carry_out, host, entry))
        patience_s = self._patience.known_s if entry.known.addresses else self._patience.first_s
        left_s = entry.began + patience_s - self._clock.monotonic()
        if left_s > 0:
            await asyncio.wait((entry.lookup,), timeout=left_s)

    async def _carry_out(self, host: str, entry: _KnownHost) -> None:
        try:
            found = await self._look_up(host)
            entry.known = merged(entry.known, found)
            self._log(host, entry, found)
            if found != UNANSWERED:
                patience = self._patience
                fresh_s = min(max(found.ttl_s, patience.fresh_least_s), patience.fresh_most_s)
                entry.fresh_until = self._clock.monotonic() + fresh_s
        finally:
            entry.lookup = None

    def _log(self, host: str, entry: _KnownHost, found: FoundAddresses) -> None:
        now = self._clock.monotonic()
        if found == UNANSWERED:
            lookups = self._thinning.failed("", now)
            if lookups is not None:
                _log.warning(
                    "host_not_resolved",
                    host=host,
                    because="no name server answers",
                    kept=entry.known.addresses,
                    lookups=lookups,
                )
        elif (outage := self._thinning.succeeded(now)) is not None:
            _log.info("host_resolved", host=host, failed=outage.failures, lasted_s=round(outage.lasted_s))
