"""Sends UDP answers that depend on a resolver or a fetch, each as soon as it is ready."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

from dns.reply_source import Ancillary


class LateAnswers:
    """Sends late answers over a socket that may be closed meanwhile."""

    def __init__(self, listening: socket.socket) -> None:
        self._socket = listening
        self.dropped = 0  # answers that could not be sent

    def expect(self, later: asyncio.Future[bytes], asker: tuple[Any, ...], source: Ancillary) -> None:
        """Send `later` to `asker` from `source` once it is ready."""
        later.add_done_callback(partial(self._send, asker, source))

    def _send(self, asker: tuple[Any, ...], source: Ancillary, answer: asyncio.Future[bytes]) -> None:
        if not answer.cancelled() and self._socket.fileno() >= 0:
            self.send(answer.result(), asker, source)

    def send(self, answer: bytes, asker: tuple[Any, ...], source: Ancillary) -> None:
        """Send `answer` to `asker` from `source`. Never waits, although the socket may."""
        try:
            self._socket.sendmsg((answer,), source, socket.MSG_DONTWAIT, asker)
        except OSError:
            # A full buffer, an unreachable client, port 0: UDP may lose an answer, and the client retries.
            self.dropped += 1
