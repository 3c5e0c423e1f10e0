"""`GET /watch`: sends to one connection what the hub has for its watcher, as fast as it reads.

It decides nothing about what is sent. A reader that does not read at all is ended by the limits in
`connections.py`.
"""

from __future__ import annotations

import secrets
from typing import Final

from aiohttp import web

from registry_core.api.endpoints import NDJSON
from registry_core.api.hub import WatchHub
from registry_core.errors import ValidationError
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import FIRST_PROTOCOL, PROTOCOL, PROTOCOL_HEADER, SILENCE_S, WATCHER_HEADER

_HEADERS: Final = {
    "Content-Type": NDJSON,
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold lines back
}


async def stream(
    request: web.Request,
    hub: WatchHub,
    cursor: Cursor,
    *,
    label: str | None,
    renewals: bool,
    acknowledges: bool,
    once: bool,
) -> web.StreamResponse:
    """Stream until the reader leaves or the hub closes; `once`: the opening alone, whatever happens meanwhile.

    Raises Overloaded, and ValidationError for a version of the protocol that is none, before anything was sent.
    """
    protocol = protocol_of(request)
    watcher_id = secrets.token_hex(16) if acknowledges else ""
    watcher = hub.open(
        cursor,
        label=label,
        protocol=protocol,
        renewals=renewals,
        watcher_id=watcher_id,
        connected=lambda: request.transport is not None and not request.transport.is_closing(),
    )
    try:
        headers = {**_HEADERS, PROTOCOL_HEADER: str(protocol)}
        response = web.StreamResponse(headers={**headers, WATCHER_HEADER: watcher_id} if acknowledges else headers)
        await response.prepare(request)
        while not watcher.closed:
            # What happens while a snapshot is sent is not part of it: a reader who wants it once wants it as it was.
            chunk = watcher.outbox.take_opening() if once else watcher.take()
            if chunk:
                await response.write(chunk)
            elif once:
                break
            else:
                await watcher.wait(SILENCE_S)
        await response.write_eof()
    except (ConnectionError, TimeoutError):
        # The reader is gone. What is left of the connection is of no use to anybody.
        if request.transport is not None:
            request.transport.abort()
        return response
    else:
        return response
    finally:
        hub.leave(watcher)


def protocol_of(request: web.BaseRequest) -> int:
    """Return the version of the protocol that a stream is sent in: the reader's, if that is not newer than ours.

    Raises ValidationError when the header is no version.
    """
    asked = request.headers.get(PROTOCOL_HEADER, str(FIRST_PROTOCOL))
    if not (asked.isascii() and asked.isdigit() and len(asked) <= 4 and int(asked) >= FIRST_PROTOCOL):
        raise ValidationError(
            "the version of the watch protocol is a whole number",
            field=PROTOCOL_HEADER,
            provided=asked[:100],
            example=str(PROTOCOL),
        )
    return min(int(asked), PROTOCOL)
