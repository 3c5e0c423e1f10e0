"""`GET /watch`: sends one connection what the hub has for its watcher, as fast as the reader reads.

It does not decide what to send. The limits in `connections.py` end a reader that does not read at all.
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
    """Stream until the reader leaves or the hub closes; with `once`, send only the opening.

    Raises Overloaded, and ValidationError for an invalid protocol version, before anything is sent.
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
            # Events during the transfer are not part of the snapshot: with `once`, the reader gets it as it was.
            chunk = watcher.outbox.take_opening() if once else watcher.take()
            if chunk:
                await response.write(chunk)
            elif once:
                break
            else:
                await watcher.wait(SILENCE_S)
        if watcher.farewell:
            await response.write(watcher.farewell)
        await response.write_eof()
    except (ConnectionError, TimeoutError):
        # The reader is gone, so the rest of the connection is useless.
        if request.transport is not None:
            request.transport.abort()
        return response
    else:
        return response
    finally:
        hub.leave(watcher)


def protocol_of(request: web.BaseRequest) -> int:
    """Return the protocol version to send: the reader's, but at most ours.

    Raises ValidationError when the header is not a version.
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
