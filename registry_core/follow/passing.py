"""Passes on what a follower does not answer itself, with the caller's own credentials, and returns the answer.

A request goes on as it came: method, path, query and body octet by octet, and every header but those of the connection.
So a signature stays valid, and the registry alone judges it, carries it out, audits and acknowledges it. Nothing is
answered in its place: without an answer of the registry, the caller gets 503.

A request that may have been carried out is sent again only where the connection broke, or to another replica when the
first refuses: whatever changes something may be repeated, and the registry lets one signature through once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from registry_core.api.calls import BODY_TIMEOUT_S
from registry_core.api.clients import CLIENT
from registry_core.api.endpoint import Endpoint
from registry_core.api.expectations import ask_for_body
from registry_core.api.problems import BrokenBody, PayloadTooLarge, RequestTimeout
from registry_core.api.schemas import MAX_BODY_BYTES, ZONE_HEADER
from registry_core.causes import cause_of
from registry_core.domain.chain import VIA_HEADER, ids_in, onward
from registry_core.errors import Overloaded, Unavailable
from registry_core.follow.link import UpstreamLink
from registry_core.follow.passed_headers import answer_headers, request_headers
from registry_core.ports.clock import Clock
from registry_core.security.signatures import INPUT_HEADER, SIGNATURE_HEADER
from registry_core.security.spoken_for import FOR_HEADER, spoken_for
from registry_core.shortages import is_shortage
from registry_core.telemetry.client_spans import client_span
from registry_core.telemetry.trace_context import TRACEPARENT, trace_headers
from registry_core.upstreams.choice import Trouble, Use
from registry_core.upstreams.probes import Silent

# What is not a write, and yet only the registry with the store, its audit and its authority can answer.
_ASKED_THERE: Final = frozenset(
    {
        "guard",
        "drain",
        "agents",
        "usage",
        "authority",
        "certificate_bundle",
        "denied_list",
        "audit_head",
        "witness_head",
        "audit_entries",
        "audit_proof",
        "audit_consistency",
    }
)
# What is a write, and concerns this process alone.
_OWN: Final = frozenset({"set_log_level", "reset_log_level"})
# A registry holds a write during a failover of its store.
PASSED_WITHIN: Final = aiohttp.ClientTimeout(total=8.0, connect=3.0, sock_connect=1.0)
MAX_TRIES: Final = 4
# Requests that are passed on at once; each holds a connection to an upstream, and its body.
MAX_UNDER_WAY: Final = 200
RETRY_AFTER_S: Final = 1.0
# Octets of an answer that are read before the next ones are asked for.
_PIECE: Final = 64 * 1024
# aiohttp's client adds these where they are missing; the caller did not send them.
_NOT_ADDED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class UpstreamUnavailable(Unavailable):
    """Raised when no upstream of this follower answers; the request may have been carried out if one was reached."""


class _Passed:
    """A request that is to be passed on: as it came, with what this follower adds."""

    __slots__ = ("body", "headers", "method", "target")

    def __init__(self, method: str, target: str, headers: CIMultiDict[str], body: bytes | None) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body


class Passing:
    """Passes requests on over `link`."""

    def __init__(self, link: UpstreamLink, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self.own = ""  # the id of this follower
        # They raise for a write that may have waited here for too long: as it comes, and as it goes.
        self.enter: Callable[[], None] = lambda: None
        self.check: Callable[[], None] = lambda: None
        # Returns whether the upstream is known not to take this follower's certificate for a caller's.
        self.is_told_apart: Callable[[], bool] = lambda: True
        self.under_way = 0

    def takes(self, endpoint: Endpoint) -> bool:
        """Return whether requests to this endpoint are passed on."""
        return endpoint.name in _ASKED_THERE or (endpoint.writes and endpoint.name not in _OWN)

    async def handle(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        """Pass a request on, and return the registry's answer.

        Raises UpstreamUnavailable when none comes, FollowLoop, Overloaded, StoodStill, and what is wrong with a body.
        """
        if endpoint.writes:
            self.enter()
        if self.under_way >= MAX_UNDER_WAY:
            raise Overloaded("this follower passes on as many requests as it can", retry_after_s=RETRY_AFTER_S)
        via = onward(self.own, ids_in(request.headers.get(VIA_HEADER, "")))
        if self._link.shows_certificate and INPUT_HEADER not in request.headers and not self.is_told_apart():
            raise UpstreamUnavailable(
                "the registry may be of a release that takes a follower's certificate for the caller's: until it is "
                "known to be a newer one, only signed requests are passed on",
                retry_after_s=RETRY_AFTER_S,
            )
        self.under_way += 1
        try:
            body = await _body_of(request) if request.body_exists else None
            if endpoint.writes:
                self.check()
            passed = _Passed(request.method, request.raw_path, self._headers(request, via), body)
            async with self._answered(passed) as response:
                return await _relayed(request, response)
        finally:
            self.under_way -= 1

    def _headers(self, request: web.Request, via: str) -> CIMultiDict[str]:
        origin = request[CLIENT]
        # What has no limits by address here has none there: it is on this machine, or a proxy's own request.
        client = origin.address if origin.limited_as else ""
        headers = request_headers(request.headers.items(), client=client, via=via)
        key = self._link.signer.keys.default
        if key is not None:
            headers[FOR_HEADER] = spoken_for(
                key,
                request.method,
                request.raw_path,
                client=client,
                seal=request.headers.get(SIGNATURE_HEADER, ""),
                created=int(self._clock.wall()),
            )
        traced = trace_headers()
        if TRACEPARENT in traced:
            headers[TRACEPARENT] = traced[TRACEPARENT]
        return headers

    @asynccontextmanager
    async def _answered(self, passed: _Passed) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield the answer of the upstream in use, or of the next one if that fails. Raises UpstreamUnavailable."""
        upstreams, because = self._link.upstreams, "REGISTRY_FOLLOW names none that could be asked"
        tried: set[str] = set()
        while len(tried) < MAX_TRIES:
            url = upstreams.current(Use.WRITE)
            if url is None or url in tried:
                break
            tried.add(url)
            try:
                response = await self._from(url, passed)
            except (TimeoutError, aiohttp.ClientError, OSError, Silent) as error:
                because, trouble, may_be_done = _fault(url, error)
                if trouble is not None:
                    upstreams.failed(url, Use.WRITE, trouble, because)
                if may_be_done:
                    break
                continue
            refuses = response.status == HTTPStatus.SERVICE_UNAVAILABLE
            if refuses and upstreams.has_other(url, Use.WRITE) and len(tried) < MAX_TRIES:
                upstreams.failed(url, Use.WRITE, Trouble.REFUSING, f"{url} answers 503")
                if upstreams.current(Use.WRITE) not in tried:
                    response.release()
                    continue
            try:
                yield response
            finally:
                response.release()
            return
        raise UpstreamUnavailable(
            f"this follower has no answer of the registry: {because}", retry_after_s=RETRY_AFTER_S
        )

    async def _from(self, url: str, passed: _Passed) -> aiohttp.ClientResponse:
        began, sending = self._clock.monotonic(), self._link.probes.patiently
        try:
            response = await sending(url, Use.WRITE, self._sent(url, passed), unwanted=_released)
        except (aiohttp.ServerDisconnectedError, ConnectionResetError):
            # A kept-alive connection may have been closed just then, which is not a failure.
            response = await sending(url, Use.WRITE, self._sent(url, passed), unwanted=_released)
        if response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            took_s, zone = self._clock.monotonic() - began, response.headers.get(ZONE_HEADER, "")
            self._link.upstreams.answered(url, Use.WRITE, took_s, zone)
        return response

    async def _sent(self, url: str, passed: _Passed) -> aiohttp.ClientResponse:
        address = URL(f"{url}{passed.target}", encoded=True)
        with client_span(passed.method, address) as span:
            response = await self._link.session.request(
                passed.method,
                address,
                data=passed.body,
                headers=passed.headers,
                skip_auto_headers=_NOT_ADDED,
                allow_redirects=False,
                auto_decompress=False,
                timeout=PASSED_WITHIN,
            )
            span.set("http.response.status_code", response.status)
        return response


def _released(response: aiohttp.ClientResponse) -> None:
    response.release()


def _fault(url: str, error: Exception) -> tuple[str, Trouble | None, bool]:
    """Return what went wrong at `url`, what that says of it, and whether the request may have been carried out."""
    match error:
        case Silent():
            return f"{url} does not answer", Trouble.SILENT, False
        case aiohttp.ConnectionTimeoutError():
            return f"{url} did not answer in time", Trouble.SILENT, False
        case TimeoutError():
            # As far as known it is alive, but its store does not answer.
            return f"{url} did not answer in time; the request may have been carried out", Trouble.REFUSING, True
        case _:
            # Without a free descriptor, no upstream can be reached: none of them is to blame.
            return f"{url}: {cause_of(error)}", None if is_shortage(error) else Trouble.SILENT, False


async def _body_of(request: web.Request) -> bytes:
    """Return the body, unread. Raises PayloadTooLarge, BrokenBody and RequestTimeout."""
    if request.content_length is not None and request.content_length > MAX_BODY_BYTES:
        raise PayloadTooLarge
    ask_for_body(request)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise PayloadTooLarge from None
    except (ConnectionError, web.RequestPayloadError):
        raise BrokenBody("the body ended early", field="body") from None
    except TimeoutError:
        raise RequestTimeout(f"the body did not arrive within {BODY_TIMEOUT_S:g} s", field="body") from None


async def _relayed(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Send the registry's answer on, as fast as the caller reads it. Raises UpstreamUnavailable when it breaks off."""
    headers = answer_headers(answer.headers)
    try:
        first = await answer.content.read(_PIECE)
        rest = b"" if answer.content.at_eof() else await answer.content.read(_PIECE)
        if not rest:
            return _whole(request, answer, first, headers)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise UpstreamUnavailable(
            f"the registry's answer broke off ({cause_of(error)}); the request may have been carried out",
            retry_after_s=RETRY_AFTER_S,
        ) from None
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = answer.content_length
    try:
        await response.prepare(request)
        await response.write(first)
        await response.write(rest)
        async for piece in answer.content.iter_chunked(_PIECE):
            await response.write(piece)
        await response.write_eof()
    except (aiohttp.ClientError, OSError, TimeoutError):
        # Its beginning is sent: only a connection that ends early says that the rest is missing.
        if request.transport is not None:
            request.transport.abort()
    return response


def _whole(
    request: web.Request, answer: aiohttp.ClientResponse, body: bytes, headers: CIMultiDict[str]
) -> web.Response:
    if request.method == "HEAD" and answer.content_length is not None:
        headers[hdrs.CONTENT_LENGTH] = str(answer.content_length)
    return web.Response(status=answer.status, headers=headers, body=body or None)
