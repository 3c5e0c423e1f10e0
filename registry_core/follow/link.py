"""The way to the registries that a follower follows: their choice, and the session, TLS and key to ask them with.

Nothing is asked here but probes of whether they live.
"""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

from registry_core.domain.selection import Random
from registry_core.follow.settings import FollowSettings
from registry_core.ports.clock import Clock
from registry_core.resolution import ServerResolver
from registry_core.security.client_settings import ClientTlsSettings
from registry_core.security.sending import RequestSigner
from registry_core.security.tls_clients import ClientTls, client_tls
from registry_core.supervision import Background
from registry_core.upstreams.choice import RegistryAddress
from registry_core.upstreams.pool import Upstreams
from registry_core.upstreams.probes import RegistryProbes
from registry_core.upstreams.requests import RegistryRequests, log_note

# Connections to all upstreams together: the watch, probes, and what is passed on at one time.
MAX_CONNECTIONS: Final = 256


class UpstreamLink:
    """The way to the upstreams. `start` it, and `close` it; between the two it has a session, requests and probes."""

    def __init__(
        self,
        settings: FollowSettings,
        tls: ClientTlsSettings,
        *,
        zone: str,
        clock: Clock,
        random: Random,
        background: Background,
    ) -> None:
        self._tls_settings = tls
        self._clock = clock
        self._random = random
        self._background = background
        self.urls = settings.urls
        addresses = [RegistryAddress(url) for url in settings.urls]
        self.upstreams = Upstreams(addresses, clock=clock, random=random, zone=zone)
        # The key of the follower itself. What it passes on keeps the credentials of its sender.
        self.signer = RequestSigner(settings.keys, clock, note=log_note)
        self.tls: ClientTls | None = None
        self._session: aiohttp.ClientSession | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def shows_certificate(self) -> bool:
        """Whether upstreams are shown a certificate of this follower."""
        return self.tls is not None and self._tls_settings.pair is not None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session, with TLS and without cookies; it adds no credentials."""
        assert self._session is not None  # set by start()
        return self._session

    async def start(self) -> None:
        """Start, without waiting for an upstream. Raises SettingsError when the files of TLS cannot be used."""
        if any(url.startswith("https:") for url in self.urls):
            self.tls = await client_tls(self._tls_settings, self._clock)
            self._tasks.append(self._background.keep("upstreams' certificates", self.tls.run))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=MAX_CONNECTIONS,
                use_dns_cache=False,
                resolver=ServerResolver(),
                ssl=True if self.tls is None else self.tls.context,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": "vertice-follower"},
        )
        self.requests = RegistryRequests(self._session, self.signer)
        self.probes = RegistryProbes(self.requests, self.upstreams, self._clock, self._random)
        self._tasks.append(self._background.keep("upstream probes", self.probes.run))

    async def close(self) -> None:
        """Stop. Safe to call twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self._session is not None:
            await self.probes.close()
            await self._session.close()
