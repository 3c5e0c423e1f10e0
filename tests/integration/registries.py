"""The agent's connection to several registries, in the test's own loop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable

import aiohttp

from agent.registries.choice import DEFAULT_PACE, Pace, RegistryAddress
from agent.registries.client import RegistryClient
from agent.registries.pool import Upstreams
from agent.registries.probes import RegistryProbes
from registry_core.ports.clock import SystemClock


class SmallestDraw:
    """No jitter: waits are as short as they get."""

    def random(self) -> float:
        return 0.0


def upstreams_at(urls: Iterable[str], *, zone: str = "", pace: Pace = DEFAULT_PACE) -> Upstreams:
    """Return the upstreams of an agent that is configured with these."""
    return Upstreams(map(RegistryAddress, urls), clock=SystemClock(), random=SmallestDraw(), zone=zone, pace=pace)


@contextlib.asynccontextmanager
async def registry_client_for(
    urls: Iterable[str], *, token: str = "", upstreams: Upstreams | None = None
) -> AsyncIterator[RegistryClient]:
    """Run a client for the duration of a `with`."""
    known = upstreams if upstreams is not None else upstreams_at(urls)
    async with aiohttp.ClientSession() as session:
        probes = RegistryProbes(session, known, SystemClock(), SmallestDraw())
        try:
            yield RegistryClient(session, known, probes, SystemClock(), token)
        finally:
            await probes.close()
