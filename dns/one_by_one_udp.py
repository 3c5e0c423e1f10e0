"""The simple way to take datagrams off a socket: one for each system call. It works everywhere."""

from __future__ import annotations

import socket
from typing import Final

from dns.late_answers import LateAnswers
from dns.responder import Responder

# Datagrams for each turn of the loop; then the others have theirs.
BATCH: Final = 64
# A query is at most this large; what is cut off makes it malformed, and is answered as such.
MAX_QUERY: Final = 4096


class OneByOne:
    """Answers what arrives at one socket. `drain` is called when something has."""

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
        """Answer what has arrived, and at most a batch of it."""
        receive, send = self._socket.recvfrom, self._socket.sendto
        answer, answer_remote, is_local = self._responder.udp, self._responder.remote, self._responder.is_local
        for _ in range(BATCH):
            try:
                query, asker = receive(MAX_QUERY)
            except BlockingIOError:
                return
            except OSError:
                # An ICMP error of an earlier answer (nobody listens there any more): no fault of ours.
                continue
            reply = answer(query) if is_local(asker[0]) else answer_remote(query, asker[0])
            if reply is None:
                self._late.expect(asker)
                continue
            try:
                send(reply, asker)
            except OSError:
                # A full buffer, an unreachable asker, port 0: UDP may lose an answer, the asker asks again.
                self._dropped += 1
