"""The HTTP part of an operation: turns a request into a call, and the result into an answer.

The table of endpoints says what to read from a request. This file decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec
from aiohttp import web

from registry_core.api.auth import CALLER, Caller
from registry_core.api.clients import client_of
from registry_core.api.endpoints import JSON, Endpoint
from registry_core.api.expectations import ask_for_body
from registry_core.api.problems import BrokenBody, PayloadTooLarge, RequestTimeout, UnsupportedMediaType
from registry_core.api.queries import QueryParameters, sequence_of
from registry_core.api.request_bodies import decode
from registry_core.api.request_limits import RequestLimits
from registry_core.api.schemas import CHECK_HEADER, MAX_BODY_BYTES, SEQUENCE_HEADER
from registry_core.domain.records import Status
from registry_core.domain.registrants import Origin
from registry_core.telemetry.spans import span

BODY_TIMEOUT_S: Final = 10.0
# As an agent's answers say it: this is what is known, and there may be more.
PARTIAL: Final[Mapping[str, str]] = {"X-Cache": "partial"}
# A few addresses of proxies.
MAX_FORWARDED: Final = 256

B = TypeVar("B")
EndpointHandler: TypeAlias = Callable[[web.Request, QueryParameters], Awaitable[web.StreamResponse]]
_ENCODER: Final = msgspec.json.Encoder()
_JSON: Final[Mapping[str, str]] = {"Content-Type": JSON}
_NOTHING_GIVEN: Final[Mapping[str, str]] = {}
_PATH: Final = web.RequestKey("path", Mapping)
_BODY: Final = web.RequestKey("body", object)
_RESULT: Final = web.RequestKey("result", object)
# Of a request about many: a note of it names the first ones.
MAX_SUBJECTS: Final = 8


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """The input of an operation: the variable parts of the path, and the query parameters."""

    path: Mapping[str, str] = {}
    query: QueryParameters = {}


class WriteCall(Call, Generic[B], frozen=True, kw_only=True):
    """The input of an operation that writes, its caller, and where that is.

    `sequence` orders the requests of one owner. `passing`: the caller says that the check of its service passes.
    """

    caller: Caller
    body: B
    sequence: int | None = None
    passing: bool = False
    origin: Origin = Origin()
    too_many: frozenset[int] = frozenset()  # which heartbeats of a batch repeat what a limit knows


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


class Writing:
    """An endpoint that is one writing operation, for a caller that is known by the time that it is called."""

    def __init__(
        self, endpoint: Endpoint, operation: Callable[[WriteCall[Any]], Awaitable[object]], limits: RequestLimits
    ) -> None:
        self.endpoint = endpoint
        self.status = min(endpoint.answers)
        self._operation = operation
        self._limits = limits
        self._body = endpoint.body
        self._is_ordered = any(header.name == SEQUENCE_HEADER for header in endpoint.headers)

    async def handle(self, request: web.Request, query: QueryParameters) -> web.StreamResponse:
        """Carry a request out, and answer it."""
        content = await body_of(request) if self._body is not None else b""
        return answer(await self.carry_out(request, content, query, request.match_info), self.status)

    async def carry_out(
        self,
        request: web.Request,
        content: bytes,
        query: QueryParameters = _NOTHING_GIVEN,
        path: Mapping[str, str] = _NOTHING_GIVEN,
    ) -> object:
        """Carry a request out, and return the body of the answer. Raises ValidationError and what the operation does.

        `content` is its body, which its sender signed.
        """
        request[_PATH] = path
        body = None
        if self._body is not None:
            with span("validation"):
                body = decode(content, self._body)
        request[_BODY] = body
        too_many = self._limits.after_body(request, self.endpoint, body)
        call = WriteCall(
            path=path,
            query=query,
            caller=request[CALLER],
            body=body,
            sequence=sequence_of(request) if self._is_ordered else None,
            passing=request.headers.get(CHECK_HEADER, "").lower() == Status.PASSING,
            origin=origin_of(request),
            too_many=too_many,
        )
        with self._limits.shedding:
            result = await self._operation(call)
        request[_RESULT] = result
        return result


def origin_of(request: web.Request) -> Origin:
    """Return where a request comes from. Anybody can claim to forward: it identifies, and permits nothing."""
    return Origin(client_of(request), request.headers.get("X-Forwarded-For", "")[:MAX_FORWARDED])


def written_by(request: web.Request) -> object:
    """Return the body of a write, decoded; None when there is none, or it was not read."""
    return request.get(_BODY)


def subject_of(request: web.Request) -> tuple[str, str]:
    """Return the service and the instance that a write is about, as far as they are known; "" where not.

    Of a request about many instances, the second says how many, and names the first ones.
    """
    body, result = request.get(_BODY), request.get(_RESULT)
    many = getattr(body, "instances", None)
    if many:
        named = ", ".join(f"{one.service_name}/{one.instance_id or ''}" for one in many[:MAX_SUBJECTS])
        return "", f"{len(many)}: {named}"
    path = request.get(_PATH)
    if path is None:
        path = request.match_info
    service = path.get("service") or getattr(body, "service_name", None) or ""
    instance = path.get("instance") or getattr(body, "instance_id", None)
    return service, instance or getattr(result, "instance_id", None) or ""


def detail_of(request: web.Request) -> str:
    """Return what else a note of a write should say: the status that was set, and what the query asked for."""
    status = getattr(request.get(_BODY), "status", None)
    query = request.query_string if "?" in request.raw_path else ""  # which would be parsed
    return " ".join(filter(None, (str(status) if isinstance(status, Status) else "", query)))


def answer(value: object, status: int = 200) -> web.Response:
    """Return `value` as a JSON answer."""
    return web.Response(status=status, body=_ENCODER.encode(value), headers=_JSON)


async def body_of(request: web.Request) -> bytes:
    """Return the body.

    Raises UnsupportedMediaType, PayloadTooLarge, BrokenBody, RequestTimeout, and AlteredBody when its sender signed
    another one.
    """
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
        else:
            ask_for_body(request)
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise PayloadTooLarge from None
    except (ConnectionError, web.RequestPayloadError):
        raise BrokenBody("the body ended early", field="body") from None
    except TimeoutError:
        raise RequestTimeout(f"the body did not arrive within {BODY_TIMEOUT_S:g} s", field="body") from None
    if CALLER in request:
        request[CALLER].require_body(body)
    return body
