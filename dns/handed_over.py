"""Questions that threads hand over to the event loop, since it alone makes answers.

A bounded queue for each socket. The thread never waits, and the loop takes a few at a time, so that neither
holds up the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from dns.datagram_ages import PATIENCE_S
from dns.late_answers import LateAnswers
from dns.reply_source import Ancillary
from dns.responder import Responder

# About as many as a socket's buffer has room for.
MOST_WAITING: Final = 4096
# Answers made in one turn of the loop, of about 50 us each.
_TURN: Final = 16


class HandedOver(NamedTuple):
    """A question, and where its answer goes."""

    query: bytes
    host: str | None  # of another machine; None for this one
    asker: tuple[Any, ...]  # a socket address
    source: Ancillary  # the address that was asked
    arrived: float  # by the monotonic clock


class HandingOver:
    """The questions of one socket that wait for the loop. `put` is the thread's, everything else the loop's."""

    def __init__(
        self, responder: Responder, listening: socket.socket, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Belongs to the running loop."""
        self._responder = responder
        self._socket = listening
        self._loop = asyncio.get_running_loop()
        self._monotonic = monotonic
        self._waiting: deque[HandedOver] = deque()
        self._is_told = False
        self._late = LateAnswers(listening)
        self._shed = 0  # for lack of room; written by the thread
        self.too_late = 0

    @property
    def dropped(self) -> int:
        """Answers that could not be sent, and questions for which there was no room."""
        return self._late.dropped + self._shed

    def put(self, question: HandedOver) -> None:
        """Have the loop answer `question`; drop it where too many wait."""
        if len(self._waiting) >= MOST_WAITING:
            self._shed += 1
            return
        self._waiting.append(question)
        # The loop takes this back before it looks: a question that does not tell it was there when it looked.
        if not self._is_told:
            self._is_told = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        """Answer some questions, and leave the rest to a later turn."""
        self._is_told = False
        if self._socket.fileno() < 0:
            self._waiting.clear()
            return
        oldest = self._monotonic() - PATIENCE_S
        for _ in range(_TURN):
            try:
                question = self._waiting.popleft()
            except IndexError:
                return
            if question.arrived < oldest:
                self.too_late += 1
            else:
                self._answer_one(question)
        self._is_told = True
        self._loop.call_soon(self._answer)

    def _answer_one(self, question: HandedOver) -> None:
        query, host, asker, source, _ = question
        responder = self._responder
        reply = responder.udp(query, port=asker[1]) if host is None else responder.remote(query, host)
        if reply is not None:
            self._late.send(reply, asker, source)
        elif (later := responder.take_later()) is not None:
            self._late.expect(later, asker, source)
