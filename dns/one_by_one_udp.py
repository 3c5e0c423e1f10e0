"""The simple way to read datagrams from a socket: one per system call. It works everywhere."""

from __future__ import annotations

import socket
from typing import Any, Final

from dns.datagram_ages import DatagramAges
from dns.late_answers import LateAnswers
from dns.reply_source import NO_SOURCE, Ancillary, ReplySource
from dns.responder import Responder

# Datagrams per turn of the loop, so that other tasks get their turns.
BATCH: Final = 64
# The largest query; a longer one is truncated, and so answered as malformed.
MAX_QUERY: Final = 4096


class OneByOne:
    """Answers the datagrams of one socket. Call `drain` when it is readable."""

    def __init__(self, responder: Responder, listening: socket.socket, source: ReplySource | None) -> None:
        self._responder = responder
        self._socket = listening
        self._source = source
        self._control_size = socket.CMSG_SPACE(source.size) if source is not None else 0
        self._late = LateAnswers(listening)
        self._ages = DatagramAges(listening)
        self._dropped = 0
        self.received = 0
        self.too_late = 0

    @property
    def dropped(self) -> int:
        """Answers that could not be sent."""
        return self._dropped + self._late.dropped

    def drain(self) -> None:
        """Answer the datagrams that have arrived, at most one batch."""
        answer, answer_remote, is_local = self._responder.udp, self._responder.remote, self._responder.is_local
        for number in range(BATCH):
            try:
                query, asker, source = self._receive()
            except BlockingIOError:
                return
            except OSError:
                # An ICMP error for an earlier answer (its client is gone): not our fault.
                continue
            self.received += 1
            if number and self._ages.too_late():  # only a backlog can be
                self.too_late += 1
                continue
            reply = answer(query, port=asker[1]) if is_local(asker[0]) else answer_remote(query, asker[0])
            if reply is None:
                later = self._responder.take_later()
                if later is not None:
                    self._late.expect(later, asker, source)
                continue
            try:
                self._socket.sendmsg((reply,), source, 0, asker)
            except OSError:
                # A full buffer, an unreachable client, port 0: UDP may lose an answer, and the client retries.
                self._dropped += 1

    def _receive(self) -> tuple[bytes, tuple[Any, ...], Ancillary]:
        """Return a query, its asker, and where its answer is to leave from."""
        if self._source is None:
            return *self._socket.recvfrom(MAX_QUERY), NO_SOURCE
        query, control, _, asker = self._socket.recvmsg(MAX_QUERY, self._control_size)
        return query, asker, self._source.of(control)
