"""Answers over UDP that others have to be asked for first: each is sent when it is there, by itself."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

from dns.responder import Responder


class LateAnswers:
    """Sends what `responder` has later, over a socket that may be closed meanwhile."""

    def __init__(self, responder: Responder, listening: socket.socket) -> None:
        self._responder = responder
        self._socket = listening
        self.dropped = 0  # answers that could not be sent

    def expect(self, asker: tuple[Any, ...]) -> None:
        """Have `asker` sent the answer to the last query, which had none yet, unless silence is the answer."""
        later = self._responder.take_later()
        if later is not None:
            later.add_done_callback(partial(self._send, asker))

    def _send(self, asker: tuple[Any, ...], answer: asyncio.Future[bytes]) -> None:
        if answer.cancelled() or self._socket.fileno() < 0:
            return
        try:
            self._socket.sendto(answer.result(), asker)
        except OSError:
            # A full buffer, an unreachable asker, port 0: UDP may lose an answer, the asker asks again.
            self.dropped += 1
