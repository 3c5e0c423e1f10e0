"""The agent's connection to several registries, in the test's own loop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable

import aiohttp

from agent.registries.client import RegistryClient
from registry_core.ports.clock import SystemClock
from registry_core.security.sending import RequestSigner, SenderKeys
from registry_core.security.signing_keys import shared_key
from registry_core.upstreams.choice import DEFAULT_PACE, Pace, RegistryAddress
from registry_core.upstreams.pool import Upstreams
from registry_core.upstreams.probes import RegistryProbes
from registry_core.upstreams.requests import RegistryRequests


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
        keys = SenderKeys(shared_key(token)) if token else SenderKeys()
        requests = RegistryRequests(session, RequestSigner(keys, SystemClock()))
        probes = RegistryProbes(requests, known, SystemClock(), SmallestDraw())
        try:
            yield RegistryClient(requests, known, probes, SystemClock())
        finally:
            await probes.close()
