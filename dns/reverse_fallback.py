"""Reverse names of registered addresses: the resolvers' name where they have one, else the services'.

It stands before the forwarder and waits for the resolvers only briefly: a service has a name without them, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from dns.codec import HEADER, Query, Rcode
from dns.foreign import RD
from dns.forwarding import Forwards

# Resolvers that know a name answer within this time; clients wait 5 s before they ask again.
PATIENCE_S: Final = 1.0


class ReverseFallback:
    """Answers for foreign names from `resolvers`, and for reverse names without a foreign answer from `own`."""

    def __init__(self, resolvers: Forwards, own: Callable[[Query, int], bytes | None]) -> None:
        """`own` returns our answer to a query in at most that many octets; None when it is not about our services."""
        self._resolvers = resolvers
        self._own = own

    def answer(self, query: Query, message: bytes, size: int) -> bytes | asyncio.Future[bytes]:
        """Return the answer, or a future that is cancelled when there will be none."""
        own = self._own(query, size)
        if own is None:
            return self._resolvers.answer(query, message, size)
        if not query.flags & RD:
            # A resolver that was told to ask here what there is here: it asks others by itself.
            return own
        theirs = self._resolvers.answer(query, message, size)
        if isinstance(theirs, bytes):
            return theirs if _has_records(theirs) else own
        loop = asyncio.get_running_loop()
        first: asyncio.Future[bytes] = loop.create_future()
        timer = loop.call_later(PATIENCE_S, _settle, first, own)
        first.add_done_callback(lambda _: timer.cancel())
        theirs.add_done_callback(partial(_choose, first, own))
        return first


def _choose(first: asyncio.Future[bytes], own: bytes, theirs: asyncio.Future[bytes]) -> None:
    _settle(first, theirs.result() if not theirs.cancelled() and _has_records(theirs.result()) else own)


def _settle(first: asyncio.Future[bytes], answer: bytes) -> None:
    if not first.done():
        first.set_result(answer)


def _has_records(message: bytes) -> bool:
    """Return whether an answer names something: an error, NXDOMAIN and NODATA do not."""
    return len(message) >= HEADER and message[3] & 0xF == Rcode.NOERROR and message[6:8] != b"\0\0"
