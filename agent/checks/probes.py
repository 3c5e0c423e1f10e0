"""The checks themselves: one question to one instance, answered in time or not. They judge nothing.

A check goes to the instance's own host and port and nowhere else: redirects are not followed, names
of proxies in the environment are not used, and little is read of what comes back.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import aiohttp
import msgspec
from yarl import URL

from agent.resolving import HostResolver
from agent.setting_table import CheckKind
from agent.settings import ServiceSpec
from registry_core.domain.names import host_port
from registry_core.domain.records import Protocol as Speaks

MAX_READ_BYTES: Final = 16 * 1024
MAX_CHECKS_AT_ONCE: Final = 256


class CheckResult(msgspec.Struct, frozen=True):
    """What one check found, and why it was not good."""

    good: bool
    because: str = ""


class Probe(Protocol):
    """Asks one instance. Returns in bounded time and raises nothing of its own."""

    async def __call__(self) -> CheckResult: ...


def check_session(resolver: HostResolver) -> aiohttp.ClientSession:
    """Return the session for http checks: a connection for each, so that accepting is checked too."""
    connector = aiohttp.TCPConnector(limit=MAX_CHECKS_AT_ONCE, force_close=True, use_dns_cache=False, resolver=resolver)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"User-Agent": "vertice-agent"},
    )


class HttpProbe:
    """GET of the health path: well is who answers 2xx."""

    def __init__(self, session: aiohttp.ClientSession, spec: ServiceSpec, timeout_s: float) -> None:
        claim = spec.claim
        scheme = "https" if claim.protocol is Speaks.HTTPS else "http"
        self._url = URL(f"{scheme}://{host_port(claim.host, claim.port)}{claim.health_endpoint}", encoded=True)
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._timeout_s = timeout_s

    async def __call__(self) -> CheckResult:
        try:
            # The certificate is of the name that clients use, which need not be the host we ask: so it
            # is not looked at. Nothing secret is sent.
            async with self._session.get(
                self._url, allow_redirects=False, timeout=self._timeout, ssl=False
            ) as response:
                await response.content.read(MAX_READ_BYTES)
                good = 200 <= response.status < 300
                return CheckResult(good, "" if good else f"HTTP {response.status}")
        except TimeoutError:
            return CheckResult(good=False, because=f"no answer within {self._timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return CheckResult(good=False, because=str(error) or type(error).__name__)


class TcpProbe:
    """A TCP connection: well is who accepts it."""

    def __init__(self, resolver: HostResolver, spec: ServiceSpec, timeout_s: float) -> None:
        self._resolver = resolver
        self._host, self._port = spec.claim.host, spec.claim.port
        self._timeout_s = timeout_s

    async def __call__(self) -> CheckResult:
        because = f"{self._host} has no address that could be found in time"
        try:
            async with asyncio.timeout(self._timeout_s):
                for address in await self._resolver.addresses(self._host):
                    try:
                        _, writer = await asyncio.open_connection(address, self._port)
                    except OSError as error:  # the next address may do
                        because = str(error) or type(error).__name__
                        continue
                    # Nothing was said on it, so that nothing is lost by ending it at once.
                    writer.transport.abort()
                    return CheckResult(good=True)
        except TimeoutError:
            because = f"no connection within {self._timeout_s:g} s"
        return CheckResult(good=False, because=because)


def probe_for(
    spec: ServiceSpec, session: aiohttp.ClientSession, resolver: HostResolver, timeout_s: float
) -> Probe | None:
    """Return the check of a service, or None when it is not checked."""
    match spec.check:
        case CheckKind.HTTP:
            return HttpProbe(session, spec, timeout_s)
        case CheckKind.TCP:
            return TcpProbe(resolver, spec, timeout_s)
        case CheckKind.NONE:
            return None
