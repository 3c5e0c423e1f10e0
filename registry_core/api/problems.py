"""Maps errors to HTTP: one table of status codes, and the one shape of every error answer.

Nothing else in the API knows the status code of an error. An error that is not in the table is our own
fault: 500, without details.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

from registry_core.api.schemas import MAX_BODY_BYTES, Problem
from registry_core.errors import (
    CallerError,
    Conflict,
    Forbidden,
    Misdirected,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    ValidationError,
    VerticeError,
)

# The schemes of credentials. Senders recognise by the first one that this registry takes signatures.
CHALLENGES: Final = "Signature, X-Registry-Token"
MAX_SHOWN_CHARACTERS: Final = 200


class PayloadTooLarge(CallerError):
    """Raised when a body is larger than any valid one."""

    def __init__(self, limit: int = MAX_BODY_BYTES) -> None:
        super().__init__(f"a body has at most {limit} bytes", field="body", example=f"{limit} bytes")


class UnsupportedMediaType(CallerError):
    """Raised when the content type of a body is not JSON, or the body is compressed."""


class BrokenBody(CallerError):
    """Raised when a body ends early, or is not a valid HTTP body."""


class RequestTimeout(CallerError):
    """Raised when a body does not arrive in time."""


class MalformedRequest(CallerError):
    """Raised when the bytes that came are not a request in HTTP."""


class TargetTooLong(CallerError):
    """Raised when the path and the query of a request are longer than any valid ones."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"path and query have at most {limit} bytes", field="path", example="/services/ip_intel")


class HeaderTooLarge(CallerError):
    """Raised when the header of a request is larger than any valid one, in one field or in all."""

    def __init__(self, message: str = "the header of the request is too large") -> None:
        super().__init__(message, field="header", example="Host: localhost")


class ExpectationFailed(CallerError):
    """Raised when a request expects something else than `100-continue`."""

    def __init__(self) -> None:
        super().__init__("this server meets one expectation", field="Expect", example="100-continue")


# The nearest base class in this table gives the status.
STATUS: Final[Mapping[type[VerticeError], HTTPStatus]] = {
    CallerError: HTTPStatus.BAD_REQUEST,
    ValidationError: HTTPStatus.BAD_REQUEST,
    Unauthorized: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    RequestTimeout: HTTPStatus.REQUEST_TIMEOUT,
    Conflict: HTTPStatus.CONFLICT,
    MalformedRequest: HTTPStatus.BAD_REQUEST,
    TargetTooLong: HTTPStatus.REQUEST_URI_TOO_LONG,
    HeaderTooLarge: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    PayloadTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Misdirected: HTTPStatus.MISDIRECTED_REQUEST,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
# What aiohttp refuses before a handler is reached.
_AIOHTTP_NAMES: Final[Mapping[int, str]] = {404: "NotFound", 405: "MethodNotAllowed", 413: "PayloadTooLarge"}
_ENCODER: Final = msgspec.json.Encoder(enc_hook=str)


def status_of(error: VerticeError) -> HTTPStatus:
    """Return the HTTP status of `error`."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return HTTPStatus.INTERNAL_SERVER_ERROR


def problem_of(error: VerticeError) -> Problem:
    """Return the answer's body for `error`."""
    name = type(error).__name__
    if isinstance(error, CallerError):
        return Problem(
            error=name,
            field=error.field,
            message=error.message,
            provided=_shown(error.provided),
            example=error.example,
            holder=error.holder if isinstance(error, Conflict) else msgspec.UNSET,
        )
    if isinstance(error, Unavailable):
        return Problem(error=name, message=error.message)
    return INTERNAL


INTERNAL: Final = Problem(error="InternalError", message="the registry failed; its log says more")


def error_response(error: VerticeError) -> web.Response:
    """Return the HTTP answer for `error`."""
    headers: dict[str, str] = {}
    if isinstance(error, Unavailable | Conflict | TooManyRequests) and error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = CHALLENGES  # RFC 9110 section 11.6.1
    return problem_response(status_of(error), problem_of(error), headers)


def aiohttp_response(error: web.HTTPException) -> web.Response:
    """Return the answer to a request that aiohttp itself refused: wrong path or method, too large."""
    headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    message = {
        404: "there is no such path; GET /openapi.json describes those that exist",
        405: f"this path takes {headers.get('Allow', 'other methods')}",
        413: f"a body has at most {MAX_BODY_BYTES} bytes",
    }.get(error.status, error.reason)
    name = _AIOHTTP_NAMES.get(error.status, "HttpError")
    return problem_response(error.status, Problem(error=name, message=message), headers)


def problem_response(status: int, problem: Problem, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a problem as an answer."""
    return web.Response(
        status=status, body=encoded(problem), content_type="application/json", headers=dict(headers or {})
    )


def encoded(problem: Problem) -> bytes:
    """Return a problem as JSON."""
    return _ENCODER.encode(problem)


def _shown(provided: object) -> object:
    """Return `provided` in a form that is safe to send back: short, and valid UTF-8."""
    if provided is None or isinstance(provided, bool | float):
        return provided
    if isinstance(provided, int) and abs(provided) < 2**63:
        return provided
    return str(provided)[:MAX_SHOWN_CHARACTERS].encode("utf-8", "replace").decode()
