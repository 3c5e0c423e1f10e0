"""Names the faults that aiohttp's parser finds in a request, and the limits of a request's header. Pure."""

from __future__ import annotations

from typing import Final

from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, InvalidHeader, InvalidURLError, LineTooLong

from registry_core.api.problems import HeaderTooLarge, MalformedRequest, TargetTooLong
from registry_core.errors import CallerError

# The limits of one line are told apart by their size: the parser's error says nothing else.
MAX_TARGET_BYTES: Final = 8190
MAX_FIELD_BYTES: Final = 8192
MAX_FIELDS: Final = 100
# All of a header, as far as it has come: so much is held for each connection that does not end it.
MAX_HEADER_BYTES: Final = 32 * 1024
_REQUEST_LINE: Final = "GET /services HTTP/1.1"
_TOO_MANY: Final = "Too many headers received"


def fault_of(error: HttpProcessingError) -> CallerError:
    """Return what is wrong with a request that the parser has refused."""
    match error:
        case LineTooLong() if MAX_TARGET_BYTES in error.args:
            return TargetTooLong(MAX_TARGET_BYTES)
        case LineTooLong():
            return HeaderTooLarge(f"a header field has at most {MAX_FIELD_BYTES} bytes")
        case BadHttpMethod():
            return MalformedRequest(
                "the request line is not HTTP/1.1, or names an unknown method", field="request", example=_REQUEST_LINE
            )
        case InvalidURLError():
            return MalformedRequest("the target of the request is not a path", field="path", example="/services")
        case InvalidHeader():
            return MalformedRequest("a header field is not valid HTTP", field="header", example="Host: localhost")
        case _ if error.message == _TOO_MANY:
            return HeaderTooLarge(f"a request has at most {MAX_FIELDS} header fields")
        case _:
            return MalformedRequest("the request is not valid HTTP/1.1", field="request", example=_REQUEST_LINE)
