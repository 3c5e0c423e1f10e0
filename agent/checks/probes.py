"""Single probes of an instance over HTTP and TCP. The verdict over several results is formed elsewhere.

A probe connects only to the instance's own host and port: it follows no redirects, ignores proxies in the
environment, and reads only the start of the answer.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, assert_never

import aiohttp
from yarl import URL

from agent.checks.command import CommandProbe, Slots
from agent.checks.pattern import Pattern
from agent.checks.result import WELL, CheckResult, Probe, critical
from agent.checks.spec import CheckSpec, CommandCheck, GrpcCheck, HttpCheck, TcpCheck, TtlCheck
from agent.checks.tls import tls_context
from registry_core.blocking import NoThread, Threads
from registry_core.bodies import read_up_to
from registry_core.causes import cause_of
from registry_core.domain.host_port import host_port
from registry_core.domain.records import Registration
from registry_core.resolution import HostResolver

MAX_READ_BYTES: Final = 16 * 1024
# A search with more steps than this, about 3 ms, runs outside the event loop.
STEPS_AT_ONCE: Final = 100_000
MAX_CHECKS_AT_ONCE: Final = 256
# Threads for slow searches: more of them would only share the same processors.
_SEARCHES: Final = Threads("search a body", 4)


def check_session(resolver: HostResolver) -> aiohttp.ClientSession:
    """Return the session for http checks: each opens a new connection, so that accepting is checked too."""
    connector = aiohttp.TCPConnector(limit=MAX_CHECKS_AT_ONCE, force_close=True, use_dns_cache=False, resolver=resolver)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"User-Agent": "vertice-agent", "Accept-Encoding": "identity"},
    )


class HttpProbe:
    """One HTTP request, by default GET of the health path."""

    def __init__(self, session: aiohttp.ClientSession, claim: Registration, how: HttpCheck, timeout_s: float) -> None:
        scheme = "http" if how.tls is None else "https"
        self._url = URL(f"{scheme}://{host_port(claim.host, claim.port)}{how.path}", encoded=True)
        self._session = session
        self._how = how
        self._tls: ssl.SSLContext | bool = True if how.tls is None else tls_context(how.tls)
        self._server_name = how.tls.server_name or None if how.tls is not None else None
        self._pattern = Pattern(how.body) if how.body else None
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._timeout_s = timeout_s

    async def __call__(self) -> CheckResult:
        how = self._how
        try:
            async with self._session.request(
                how.method,
                self._url,
                headers=how.headers,
                allow_redirects=False,
                timeout=self._timeout,
                ssl=self._tls,
                server_hostname=self._server_name,
            ) as response:
                if not any(low <= response.status <= high for low, high in how.statuses):
                    await response.content.readany()
                    return critical(f"HTTP {response.status}")
                if self._pattern is None:
                    await response.content.readany()  # the body must begin to arrive; its content does not matter
                    return WELL
                body = await read_up_to(response.content, MAX_READ_BYTES)
        except TimeoutError:
            return critical(f"no answer within {self._timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return critical(cause_of(error))
        return await self._searched(self._pattern, response.status, body)

    async def _searched(self, pattern: Pattern, status: int, body: bytes) -> CheckResult:
        text = body.decode("utf-8", "replace")
        try:
            if await matches(pattern, text, self._timeout_s):
                return WELL
        except (TimeoutError, NoThread):
            return critical(f"HTTP {status}, but the body could not be searched within {self._timeout_s:g} s")
        whole = "" if len(body) < MAX_READ_BYTES else f" the first {MAX_READ_BYTES} bytes of"
        return critical(f"HTTP {status}, but{whole} the body did not match {self._how.body!r}")


async def matches(pattern: Pattern, text: str, timeout_s: float) -> bool:
    """Return whether `pattern` matches in `text`, without blocking the loop. Raises TimeoutError or NoThread."""
    if pattern.steps(text) <= STEPS_AT_ONCE:
        return pattern.is_in(text)
    return await _SEARCHES.run(lambda: pattern.is_in(text), timeout_s=timeout_s)


class TcpProbe:
    """One TCP connection: healthy if it is accepted."""

    def __init__(self, resolver: HostResolver, claim: Registration, timeout_s: float) -> None:
        self._resolver = resolver
        self._host, self._port = claim.host, claim.port
        self._timeout_s = timeout_s

    async def __call__(self) -> CheckResult:
        because = f"{self._host} did not resolve in time"
        try:
            async with asyncio.timeout(self._timeout_s):
                for address in await self._resolver.addresses(self._host):
                    try:
                        _, writer = await asyncio.open_connection(address, self._port)
                    except OSError as error:  # the next address may work
                        because = cause_of(error)
                        continue
                    # No data was sent, so aborting loses nothing.
                    writer.transport.abort()
                    return WELL
        except TimeoutError:
            because = f"no connection within {self._timeout_s:g} s"
        return critical(because)


class CheckProbes:
    """Makes the probes of one agent, which share a session, a resolver, and the slots for programs."""

    def __init__(self, session: aiohttp.ClientSession, resolver: HostResolver) -> None:
        self._session = session
        self._resolver = resolver
        self._slots = Slots()

    def __call__(self, claim: Registration, check: CheckSpec) -> Probe | None:
        """Return the probe for a check; None for ttl, where the service reports by itself."""
        timeout_s = check.pace.timeout_s
        match check.how:
            case HttpCheck() as how:
                return HttpProbe(self._session, claim, how, timeout_s)
            case TcpCheck():
                return TcpProbe(self._resolver, claim, timeout_s)
            case GrpcCheck() as how:
                # Imported late: only agents with such a check load HTTP/2.
                from agent.checks.grpc import GrpcProbe  # noqa: PLC0415 - see above

                return GrpcProbe(self._resolver, claim, how, timeout_s)
            case CommandCheck() as how:
                return CommandProbe(how, claim, timeout_s, self._slots)
            case TtlCheck():
                return None
            case other:
                assert_never(other)
