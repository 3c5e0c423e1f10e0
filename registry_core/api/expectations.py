"""`Expect: 100-continue` (RFC 9110 section 10.1.1): a body is asked for when it is about to be read, and not before.

So a request that is refused for its credentials, or for anything else in its header, never sends its body.
"""

from __future__ import annotations

from typing import Final

from aiohttp import HttpVersion11, hdrs, web

from registry_core.api.problems import ExpectationFailed, error_response

_EXPECTED: Final = "100-continue"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


async def no_answer_yet(request: web.Request) -> web.StreamResponse | None:
    """Refuse other expectations; leave this one to `ask_for_body`. It takes the place of aiohttp's own answer."""
    return None if _is_expected(request) else error_response(ExpectationFailed())


def ask_for_body(request: web.BaseRequest) -> None:
    """Let the peer send its body, if it waits to be asked."""
    if hdrs.EXPECT in request.headers and not request.content.is_eof() and _is_expected(request):
        transport = request.transport
        if transport is not None and request.version >= HttpVersion11:
            transport.write(_CONTINUE)


def close_if_unasked(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Close the connection after an answer to a body that was not asked for: the peer may send it yet, or not."""
    if hdrs.EXPECT in request.headers and not request.content.is_eof():
        response.force_close()


def _is_expected(request: web.BaseRequest) -> bool:
    return request.headers.get(hdrs.EXPECT, "").lower() == _EXPECTED
