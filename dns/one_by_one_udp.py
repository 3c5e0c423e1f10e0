"""The simple way to read datagrams from a socket: one per system call. It works everywhere."""

from __future__ import annotations

import socket
from typing import Final

from dns.late_answers import LateAnswers
from dns.responder import Responder

# Datagrams per turn of the loop, so that other tasks get their turns.
BATCH: Final = 64
# The largest query; a longer one is truncated, and so answered as malformed.
MAX_QUERY: Final = 4096


class OneByOne:
    """Answers the datagrams of one socket. Call `drain` when it is readable."""

    def __init__(self, responder: Responder, listening: socket.socket) -> None:
        self._responder = responder
        self._socket = listening
        self._late = LateAnswers(responder, listening)
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Answers that could not be sent."""
        return self._dropped + self._late.dropped

    def drain(self) -> None:
        """Answer the datagrams that have arrived, at most one batch."""
        receive, send = self._socket.recvfrom, self._socket.sendto
        answer, answer_remote, is_local = self._responder.udp, self._responder.remote, self._responder.is_local
        for _ in range(BATCH):
            try:
                query, asker = receive(MAX_QUERY)
            except BlockingIOError:
                return
            except OSError:
                # An ICMP error for an earlier answer (its client is gone): not our fault.
                continue
            reply = answer(query) if is_local(asker[0]) else answer_remote(query, asker[0])
            if reply is None:
                self._late.expect(asker)
                continue
            try:
                send(reply, asker)
            except OSError:
                # A full buffer, an unreachable client, port 0: UDP may lose an answer, and the client retries.
                self._dropped += 1
