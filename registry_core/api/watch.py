"""`GET /watch`: sends one connection what the hub has for its watcher, as fast as the reader reads.

It does not decide what to send. While the reader keeps up, `fanout.py` writes to it and this task sleeps. The limits in
`connections.py` end a reader that does not read at all.
"""

from __future__ import annotations

import secrets
from typing import Final

from aiohttp import web

from registry_core.api.ack_routes import watcher_id
from registry_core.api.endpoints import NDJSON
from registry_core.api.hub import WatchHub
from registry_core.api.pieces import WatchStream
from registry_core.api.snapshot_turns import ReaderTurns, SnapshotTurns
from registry_core.api.unread import UnreadAnswers
from registry_core.api.watcher import Watcher
from registry_core.domain.chain import CHAIN_HEADER, FOLLOWER_HEADER
from registry_core.errors import ValidationError
from registry_core.usage.limits import REPORT_EVERY_HEADER
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import (
    ACK_EVERY_HEADER,
    FIRST_PROTOCOL,
    PROTOCOL,
    PROTOCOL_HEADER,
    SYNC_EVERY_S,
    WATCHER_HEADER,
    ack_every_s,
)
from registry_core.watch.packing import DEFLATE, PACKING_HEADER, asks_for_packing

_HEADERS: Final = {
    "Content-Type": NDJSON,
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold lines back
}
# How often a reader that waits for its turn gets a sign that the stream lives.
WAITING_SIGN_S: Final = SYNC_EVERY_S - 1.0


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
    turns: SnapshotTurns,
    chain: str,
) -> web.StreamResponse:
    """Stream until the reader leaves or the hub closes; with `once`, send only the opening.

    `replica` is the id of this one, which is part of those of its watchers. Those that acknowledge are asked for a
    report every `report_every_s`. `chain` names the replicas from this one up to the registry. Readers that need a
    snapshot of everything get it in `turns`.

    Raises Overloaded, and ValidationError for an invalid protocol version, before anything is sent.
    """
    protocol, is_packed = protocol_of(request), asks_for_packing(request.headers.get(PACKING_HEADER, ""))
    unread.admit()
    name = watcher_id(replica, secrets.token_hex(16)) if acknowledges else ""
    watcher = hub.open(
        cursor,
        label=label,
        protocol=protocol,
        renewals=renewals,
        is_packed=is_packed,
        in_turn=label is None and not once,
        watcher_id=name,
        connected=lambda: request.transport is not None and not request.transport.is_closing(),
    )
    _note_follower(request, watcher)
    try:
        with ReaderTurns(turns) as own:
            if watcher.outbox.owes is not None:
                turns.admit()
            headers = _headers(protocol, name, chain, report_every_s, readers=len(hub), is_packed=is_packed)
            response = WatchStream(headers, unread)
            await response.begin(request)
            while not watcher.closed:
                if not await own.may_read(WAITING_SIGN_S, owes=watcher.outbox.owes is not None):
                    await response.send(request, b"\n")  # a reader ignores it, and knows that the stream lives
                    continue
                # Events during the transfer are not part of the snapshot: with `once`, the reader gets it as it was.
                chunk = watcher.outbox.take_opening() if once else watcher.take()
                if chunk:
                    await response.send(request, chunk)
                    hub.sent(watcher, len(chunk))
                    await own.has_read(everything=watcher.outbox.opened)
                elif once:
                    break
                else:
                    own.is_level()
                    await hub.fanout.stand_by(watcher, response.end(request))
                    if not watcher.closed:
                        await response.read_up(request)
            if watcher.farewell:
                await response.send(request, watcher.farewell)
            await response.finish()
    except ConnectionError:
        # The reader is gone, so the rest of the connection is useless.
        if request.transport is not None:
            request.transport.abort()
        return response
    else:
        return response
    finally:
        hub.leave(watcher)


def _note_follower(request: web.Request, watcher: Watcher) -> None:
    """Have a follower say which drains its own readers know of: what it has applied, they may not have."""
    if FOLLOWER_HEADER in request.headers:
        watcher.acknowledged = Cursor()


def _headers(
    protocol: int, name: str, chain: str, report_every_s: float, *, readers: int, is_packed: bool
) -> dict[str, str]:
    """Return the headers of the answer to a reader; with a `name`, it acknowledges, as one of `readers`."""
    headers = {**_HEADERS, PROTOCOL_HEADER: str(protocol), CHAIN_HEADER: chain}
    if is_packed:
        headers[PACKING_HEADER] = DEFLATE
    if name:
        headers |= {WATCHER_HEADER: name, REPORT_EVERY_HEADER: f"{report_every_s:g}"}
        headers[ACK_EVERY_HEADER] = f"{ack_every_s(readers):.2f}"
    return headers


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
