"""`GET /watch`: sends one connection what the hub has for its watcher, as fast as the reader reads.

It does not decide what to send. The limits in `connections.py` end a reader that does not read at all.
"""

from __future__ import annotations

import secrets
from typing import Final

from aiohttp import web

from registry_core.api.ack_routes import watcher_id
from registry_core.api.endpoints import NDJSON
from registry_core.api.hub import WatchHub
from registry_core.api.pieces import WatchStream
from registry_core.api.unread import UnreadAnswers
from registry_core.domain.chain import CHAIN_HEADER, FOLLOWER_HEADER
from registry_core.errors import ValidationError
from registry_core.usage.limits import REPORT_EVERY_HEADER
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
    unread: UnreadAnswers,
    replica: str,
    report_every_s: float,
    chain: str,
) -> web.StreamResponse:
    """Stream until the reader leaves or the hub closes; with `once`, send only the opening.

    `replica` is the id of this one, which is part of those of its watchers. Those that acknowledge are asked for a
    report every `report_every_s`. `chain` names the replicas from this one up to the registry.

    Raises Overloaded, and ValidationError for an invalid protocol version, before anything is sent.
    """
    protocol = protocol_of(request)
    unread.admit()
    name = watcher_id(replica, secrets.token_hex(16)) if acknowledges else ""
    watcher = hub.open(
        cursor,
        label=label,
        protocol=protocol,
        renewals=renewals,
        watcher_id=name,
        connected=lambda: request.transport is not None and not request.transport.is_closing(),
    )
    if FOLLOWER_HEADER in request.headers:
        # What a follower has applied, its own readers may not have: it says which drains they know of.
        watcher.acknowledged = Cursor()
    try:
        headers = {**_HEADERS, PROTOCOL_HEADER: str(protocol), CHAIN_HEADER: chain}
        if acknowledges:
            headers |= {WATCHER_HEADER: name, REPORT_EVERY_HEADER: f"{report_every_s:g}"}
        response = WatchStream(headers, unread)
        await response.begin(request)
        while not watcher.closed:
            # Events during the transfer are not part of the snapshot: with `once`, the reader gets it as it was.
            chunk = watcher.outbox.take_opening() if once else watcher.take()
            if chunk:
                await response.send(request, chunk)
                hub.sent(watcher, len(chunk))
            elif once:
                break
            else:
                await watcher.wait(SILENCE_S)
        if watcher.farewell:
            await response.send(request, watcher.farewell)
        await response.finish()
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
