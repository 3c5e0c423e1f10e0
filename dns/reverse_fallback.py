"""Reverse names of registered addresses: the resolvers' name where they have one, else the services'.

It stands before the forwarder and waits for the resolvers only briefly: a service has a name without them, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from functools import partial
from typing import Final

from dns.codec import RD, Answer, Query, Rcode
from dns.forwarding import ForeignAnswer, Forwards

# Resolvers that know a name answer within this time; clients wait 5 s before they ask again.
PATIENCE_S: Final = 1.0


class ReverseFallback:
    """Answers for foreign names from `resolvers`, and for reverse names without a foreign answer from `own`."""

    def __init__(self, resolvers: Forwards, own: Callable[[Query], Answer | None]) -> None:
        """`own` returns our answer to a query, or None when it is not about our services."""
        self._resolvers = resolvers
        self._own = own

    def answer(
        self, query: Query, message: bytes, asker: Hashable = None
    ) -> ForeignAnswer | asyncio.Future[ForeignAnswer]:
        """Return the answer, or a future that is cancelled when there will be none."""
        own = self._own(query)
        if own is None:
            return self._resolvers.answer(query, message, asker)
        if not query.flags & RD:
            # A resolver that was told to ask here what there is here: it asks others by itself.
            return own
        theirs = self._resolvers.answer(query, message, asker)
        if not isinstance(theirs, asyncio.Future):
            return theirs if _has_records(theirs) else own
        loop = asyncio.get_running_loop()
        first: asyncio.Future[ForeignAnswer] = loop.create_future()
        timer = loop.call_later(PATIENCE_S, _settle, first, own)
        first.add_done_callback(lambda _: timer.cancel())
        theirs.add_done_callback(partial(_choose, first, own))
        return first


def _choose(first: asyncio.Future[ForeignAnswer], own: Answer, theirs: asyncio.Future[ForeignAnswer]) -> None:
    _settle(first, theirs.result() if not theirs.cancelled() and _has_records(theirs.result()) else own)


def _settle(first: asyncio.Future[ForeignAnswer], answer: ForeignAnswer) -> None:
    if not first.done():
        first.set_result(answer)


def _has_records(answer: ForeignAnswer) -> bool:
    """Return whether an answer names something: an error, NXDOMAIN and NODATA do not."""
    if isinstance(answer, Answer):
        return answer.rcode is Rcode.NOERROR and bool(answer.answers)
    return answer.reply.rcode == Rcode.NOERROR and any(mark.section == 0 for mark in answer.reply.marks)
