"""The checks themselves: one question to one instance, answered in time or not. They judge no row of answers.

A check goes to the instance's own host and port and nowhere else: redirects are not followed, names
of proxies in the environment are not used, and little is read of what comes back.
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
from registry_core.domain.host_port import host_port
from registry_core.domain.records import Registration
from registry_core.resolution import HostResolver

MAX_READ_BYTES: Final = 16 * 1024
# A search of more steps than this, some 3 ms, is not for the event loop.
STEPS_AT_ONCE: Final = 100_000
MAX_CHECKS_AT_ONCE: Final = 256
# Bodies that are searched in threads, since their patterns take long: more of them would only take turns.
_SEARCHES: Final = Threads("search a body", 4)


def check_session(resolver: HostResolver) -> aiohttp.ClientSession:
    """Return the session for http checks: a connection for each, so that accepting is checked too."""
    connector = aiohttp.TCPConnector(limit=MAX_CHECKS_AT_ONCE, force_close=True, use_dns_cache=False, resolver=resolver)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"User-Agent": "vertice-agent", "Accept-Encoding": "identity"},
    )


class HttpProbe:
    """One request, by default GET of the health path."""

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
                    await response.content.readany()  # something of the body has to come; what it is, nobody asks
                    return WELL
                body = await read_up_to(response.content, MAX_READ_BYTES)
        except TimeoutError:
            return critical(f"no answer within {self._timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return critical(_reason(error))
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
    """Return whether `text` holds `pattern`, and let others have their turns. Raises TimeoutError, or NoThread."""
    if pattern.steps(text) <= STEPS_AT_ONCE:
        return pattern.is_in(text)
    return await _SEARCHES.run(lambda: pattern.is_in(text), timeout_s=timeout_s)


def _reason(error: Exception) -> str:
    """Return what went wrong, without what aiohttp says of itself around it."""
    inner: Exception = error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        inner = error.os_error
    return str(inner) or type(inner).__name__


class TcpProbe:
    """A TCP connection: well is who accepts it."""

    def __init__(self, resolver: HostResolver, claim: Registration, timeout_s: float) -> None:
        self._resolver = resolver
        self._host, self._port = claim.host, claim.port
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
                    return WELL
        except TimeoutError:
            because = f"no connection within {self._timeout_s:g} s"
        return critical(because)


class CheckProbes:
    """Makes the probes of one agent, which share a session, a resolver, and the room for programs."""

    def __init__(self, session: aiohttp.ClientSession, resolver: HostResolver) -> None:
        self._session = session
        self._resolver = resolver
        self._slots = Slots()

    def __call__(self, claim: Registration, check: CheckSpec) -> Probe | None:
        """Return what finds out how an instance is; None for ttl, where it says so by itself."""
        timeout_s = check.pace.timeout_s
        match check.how:
            case HttpCheck() as how:
                return HttpProbe(self._session, claim, how, timeout_s)
            case TcpCheck():
                return TcpProbe(self._resolver, claim, timeout_s)
            case GrpcCheck() as how:
                # HTTP/2 is read into memory by those agents alone that have such a check.
                from agent.checks.grpc import GrpcProbe  # noqa: PLC0415 - see above

                return GrpcProbe(self._resolver, claim, how, timeout_s)
            case CommandCheck() as how:
                return CommandProbe(how, claim, timeout_s, self._slots)
            case TtlCheck():
                return None
            case other:
                assert_never(other)
