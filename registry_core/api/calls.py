"""The HTTP part of an operation: turns a request into a call, and the result into an answer.

The table of endpoints says what to read from a request. This file decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec
from aiohttp import web

from registry_core.api.auth import Authenticator, Caller
from registry_core.api.endpoints import JSON, Endpoint
from registry_core.api.problems import BrokenBody, PayloadTooLarge, RequestTimeout, UnsupportedMediaType
from registry_core.api.queries import QueryParameters, sequence_of
from registry_core.api.request_bodies import decode
from registry_core.api.schemas import MAX_BODY_BYTES, SEQUENCE_HEADER
from registry_core.api.write_access import WriteAccess
from registry_core.errors import CallerError, Forbidden, Unauthorized

BODY_TIMEOUT_S: Final = 10.0
# As an agent's answers say it: this is what is known, and there may be more.
PARTIAL: Final[Mapping[str, str]] = {"X-Cache": "partial"}

B = TypeVar("B")
EndpointHandler: TypeAlias = Callable[[web.Request, QueryParameters], Awaitable[web.StreamResponse]]
_ENCODER: Final = msgspec.json.Encoder()


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """The input of an operation: the variable parts of the path, and the query parameters."""

    path: Mapping[str, str] = {}
    query: QueryParameters = {}


class WriteCall(Call, Generic[B], frozen=True, kw_only=True):
    """The input of an operation that writes, and its caller. `sequence` orders the requests of one owner."""

    caller: Caller
    body: B
    sequence: int | None = None


def looking_up(
    endpoint: Endpoint, operation: Callable[[Call], object], may_lack: Callable[[], bool]
) -> EndpointHandler:
    """Return the handler of an endpoint that is one read-only operation.

    `may_lack` returns whether what comes from the store may lack something that exists; the answer then says so.
    """
    status = min(endpoint.answers)

    async def handle(request: web.Request, query: QueryParameters) -> web.StreamResponse:
        response = answer(operation(Call(path=request.match_info, query=query)), status)
        if endpoint.from_store and may_lack():
            response.headers.update(PARTIAL)
        return response

    return handle


def writing(
    endpoint: Endpoint,
    operation: Callable[[WriteCall[Any]], Awaitable[object]],
    authenticator: Authenticator,
    access: WriteAccess,
) -> EndpointHandler:
    """Return the handler of an endpoint that is one writing operation. `access` learns of living clients' writes."""
    handle = _writing(endpoint, operation, authenticator)

    async def noted(request: web.Request, query: QueryParameters) -> web.StreamResponse:
        try:
            response = await handle(request, query)
        except (Unauthorized, Forbidden) as error:
            access.refused(error)
            raise
        except CallerError:
            access.accepted()  # its credential was valid
            raise
        access.accepted()
        return response

    return noted if endpoint.from_living else handle


def _writing(
    endpoint: Endpoint, operation: Callable[[WriteCall[Any]], Awaitable[object]], authenticator: Authenticator
) -> EndpointHandler:
    status = min(endpoint.answers)
    is_ordered = any(header.name == SEQUENCE_HEADER for header in endpoint.headers)

    async def handle(request: web.Request, query: QueryParameters) -> web.StreamResponse:
        # A caller without a credential is refused before its body is read.
        caller = authenticator.identify(request.headers)
        body = decode(await body_of(request), endpoint.body) if endpoint.body is not None else None
        sequence = sequence_of(request) if is_ordered else None
        call = WriteCall(path=request.match_info, query=query, caller=caller, body=body, sequence=sequence)
        return answer(await operation(call), status)

    return handle


def answer(value: object, status: int = 200) -> web.Response:
    """Return `value` as a JSON answer."""
    return web.Response(status=status, body=_ENCODER.encode(value), content_type=JSON)


async def body_of(request: web.Request) -> bytes:
    """Return the body. Raises UnsupportedMediaType, PayloadTooLarge, BrokenBody, RequestTimeout."""
    # The exact value needs no parsing.
    if request.headers.get("Content-Type") != JSON and request.content_type != JSON:
        raise UnsupportedMediaType(
            "a body must be JSON, with a Content-Type that says so",
            field="Content-Type",
            provided=request.headers.get("Content-Type"),
            example=JSON,
        )
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedMediaType(
            "a body must not be compressed", field="Content-Encoding", provided=encoding, example="identity"
        )
    if request.content_length is not None and request.content_length > MAX_BODY_BYTES:
        raise PayloadTooLarge
    try:
        if request.content.is_eof():  # it arrived with the headers, as nearly all do
            body = request.content.read_nowait()
            if len(body) > MAX_BODY_BYTES:  # a chunked body does not declare its size
                raise PayloadTooLarge
            return body
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise PayloadTooLarge from None
    except (ConnectionError, web.RequestPayloadError):
        raise BrokenBody("the body ended early", field="body") from None
    except TimeoutError:
        raise RequestTimeout(f"the body did not arrive within {BODY_TIMEOUT_S:g} s", field="body") from None
