"""The HTTP session towards the registries, and its TLS, which only an agent that needs it loads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.abc import AbstractResolver

from agent.registries.addresses import SRV_TLS_PREFIX
from registry_core.ports.clock import Clock
from registry_core.security.client_settings import ClientTlsSettings

if TYPE_CHECKING:  # an agent without TLS does not load it
    from registry_core.security.tls_clients import ClientTls

_NONE = ClientTlsSettings()


def is_needed(urls: Iterable[str], settings: ClientTlsSettings) -> bool:
    """Return whether an agent with these addresses in REGISTRY_URL speaks TLS."""
    return settings != _NONE or any(url.lower().startswith(("https:", SRV_TLS_PREFIX)) for url in urls)


async def registry_tls(urls: Iterable[str], settings: ClientTlsSettings, clock: Clock) -> ClientTls | None:
    """Return the TLS of the agent; None when it needs none. Raises SettingsError."""
    if not is_needed(urls, settings):
        return None
    from registry_core.security.tls_clients import client_tls  # noqa: PLC0415 - costs memory beside every service

    return await client_tls(settings, clock)


def registry_session(most: int, resolver: AbstractResolver, tls: ClientTls | None) -> aiohttp.ClientSession:
    """Return a session with at most that many connections."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=most, use_dns_cache=False, resolver=resolver, ssl=True if tls is None else tls.context
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "vertice-agent"},
    )
