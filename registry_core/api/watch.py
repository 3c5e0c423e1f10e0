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
from registry_core.watch.cursor import Cursor

# Seconds between two signs of life.
SYNC_EVERY_S: Final = 5.0
# Without a sign of life for this long, the hub is not being driven, and the reader had better go elsewhere.
SILENCE_S: Final = 3 * SYNC_EVERY_S

# Whoever acknowledges is told its id in this header; who knows the id is the watcher.
WATCHER_HEADER: Final = "X-Watcher"

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
    """Stream until the reader leaves or the hub closes; `once`: until all has been said that there is to say.

    Raises Overloaded before anything was sent.
    """
    watcher_id = secrets.token_hex(16) if acknowledges else ""
    watcher = hub.open(
        cursor,
        label=label,
        renewals=renewals,
        watcher_id=watcher_id,
        connected=lambda: request.transport is not None and not request.transport.is_closing(),
    )
    try:
        response = web.StreamResponse(headers={**_HEADERS, WATCHER_HEADER: watcher_id} if acknowledges else _HEADERS)
        await response.prepare(request)
        while not watcher.closed:
            chunk = watcher.take()
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
