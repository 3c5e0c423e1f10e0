"""Host names to addresses, for all that the agent connects to: bounded in time and in threads.

The system's resolver blocks for as long as its name servers like, and both the loop's executor and
uvloop's wait for it when the process ends. So it runs in daemon threads, a few at a time: who cannot
be resolved in time counts as not resolvable, and a dead name server holds up no exit.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from registry_core.api.resolution import MAX_PENDING, Resolver

_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


class HostResolver(AbstractResolver):
    """Resolves for the agent's sessions with the registry, for aiohttp, and for the checks."""

    def __init__(self, resolver: Resolver | None = None) -> None:
        self._resolver = resolver if resolver is not None else Resolver()
        # Whoever comes beyond the number of threads waits here for its turn, and is not turned away.
        self._turns = asyncio.Semaphore(MAX_PENDING)

    async def addresses(self, host: str) -> tuple[str, ...]:
        """Return the addresses of `host`; none when they cannot be had in time."""
        async with self._turns:
            return await self._resolver.resolve(host)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return where `host` and `port` are, as aiohttp wants it. Raises OSError when nowhere."""
        found = []
        for address in await self.addresses(host):
            kind = _FAMILIES[ipaddress.ip_address(address).version]
            if family in (socket.AF_UNSPEC, kind):
                found.append(
                    ResolveResult(
                        hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST
                    )
                )
        if not found:
            raise OSError(None, f"{host} has no address that could be found in time")
        return found

    async def close(self) -> None:
        """Do nothing: its threads end by themselves."""
