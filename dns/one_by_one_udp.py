"""The simple way to take datagrams off a socket: one for each system call. It works everywhere."""

from __future__ import annotations

import socket
from typing import Final

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
        self.dropped = 0  # answers that could not be sent

    def drain(self) -> None:
        """Answer what has arrived, and at most a batch of it."""
        receive, send = self._socket.recvfrom, self._socket.sendto
        answer, refuse, admits = self._responder.udp, self._responder.refuse, self._responder.admits
        for _ in range(BATCH):
            try:
                query, asker = receive(MAX_QUERY)
            except BlockingIOError:
                return
            except OSError:
                # An ICMP error of an earlier answer (nobody listens there any more): no fault of ours.
                continue
            reply = answer(query) if admits(asker[0]) else refuse(query)
            if reply is None:
                continue
            try:
                send(reply, asker)
            except (OSError, OverflowError):
                # A full buffer, an unreachable asker, port 0: UDP may lose an answer, the asker asks again.
                self.dropped += 1
