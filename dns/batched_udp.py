"""The fast way to read datagrams from a socket, and to send their answers: 64 per system call.

Queries with a ready answer, nearly all, are never handled one by one: their keys are cut, looked up and
answered by the column, and the kernel reads the answers from where they lie. The rest (new questions,
unusual spellings, long queries, other machines) goes through the responder, as on every transport.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from dns.answer_cache import NONE_READY, Ready
from dns.datagram_ages import DatagramAges
from dns.late_answers import LateAnswers
from dns.mmsg import HEAD, ID, PLACE, Batch, Calls, Source, place_of
from dns.one_by_one_udp import BATCH, MAX_QUERY
from dns.reply_source import ReplySource
from dns.responder import Responder

# Making an answer takes 20 times as long as sending a ready one. After a batch with more than a few new answers
# the next batch is smaller, so that a flood of new names does not hold the loop longer than one of known names.
_FEW: Final = 8
_SMALL_BATCH: Final = 16
# The bound on remembered local sources: this machine has many addresses of its own (127.0.0.0/8).
MAX_KNOWN: Final = 4096
_SILENCE: Final = Ready(bytes(PLACE), b"")
_place_of_ready: Final = itemgetter(0)


class Batched:
    """Answers the datagrams of one socket. Call `drain` when it is readable."""

    def __init__(
        self, responder: Responder, listening: socket.socket, source: ReplySource | None, calls: Calls
    ) -> None:
        self._responder = responder
        self._is_local = responder.is_local
        self._batch = Batch(calls, listening, source, size=BATCH, most=MAX_QUERY)
        self._size = BATCH  # size of the next batch
        self._local: set[Source] = set()
        self._late = LateAnswers(listening)
        self._ages = DatagramAges(listening)
        self._dropped = 0
        self._too_late = 0
        self._received = 0

    @property
    def dropped(self) -> int:
        """Answers that could not be sent."""
        return self._dropped + self._late.dropped

    @property
    def received(self) -> int:
        """Datagrams that were read."""
        return self._received

    @property
    def too_late(self) -> int:
        """Queries that had waited for longer than their askers do, and were not answered."""
        return self._too_late

    def drain(self) -> None:
        """Answer the datagrams that have arrived, at most one batch."""
        self._take(self._size)

    def _take(self, most: int) -> int:
        """Answer at most `most` datagrams that have arrived; return how many there were. Never waits."""
        lengths = self._batch.receive(most)
        count = len(lengths)
        if count == most and self._ages.too_late():
            # There is a backlog, and the youngest of these is too old: so are all.
            self._too_late += count
            self._received += count
        elif count:
            self._answer(lengths)
        return count

    def _answer(self, lengths: Sequence[int]) -> None:
        """Answer the datagrams of these lengths, which are in the first slots, and count them."""
        self._received += len(lengths)
        self._answer_all(lengths)

    def _answer_all(self, lengths: Sequence[int]) -> None:
        batch, count = self._batch, len(lengths)
        keys = batch.keys(lengths)
        remote: dict[int, str] = {}
        if not self._local.issuperset(sources := batch.sources(count)):
            remote = self._remote(sources)
        if remote or max(lengths) > ID + HEAD:
            # Other machines' queries pass the rate limit first, and a long key would reach into the next slot.
            for slot, length in enumerate(lengths):
                if length > ID + HEAD or slot in remote:
                    keys[slot] = b""
        ready = self._responder.ready(keys)
        places = b"".join(map(_place_of_ready, ready))
        if len(places) == count * PLACE:
            self._size = BATCH
            self._give(count)
            batch.answer(places)
            self._dropped += batch.send(0, count)
        else:
            self._answer_one_by_one(lengths, ready, remote)

    def _answer_one_by_one(self, lengths: Sequence[int], ready: list[Ready], remote: dict[int, str]) -> None:
        """Make the answers that are not ready, and send all."""
        batch, silent = self._batch, []
        self._give(len(ready) - ready.count(NONE_READY))
        made_before = self._responder.misses
        for slot, length in enumerate(lengths):
            if ready[slot] is not NONE_READY:
                continue
            reply = self._reply(slot, batch.datagram(slot, length), remote.get(slot))
            if reply is None:
                # It cannot wait here: the next batch takes this slot.
                silent.append(slot)
                ready[slot] = _SILENCE
            else:
                answer = reply[ID:]
                ready[slot] = Ready(place_of(answer), answer)
        made = self._responder.misses - made_before
        self._size = _SMALL_BATCH if made > _FEW else BATCH
        batch.answer(b"".join(map(_place_of_ready, ready)))
        first = 0
        for slot in (*silent, len(lengths)):
            self._dropped += batch.send(first, slot)
            first = slot + 1

    def _give(self, count: int) -> None:
        """Count ready answers that are given out."""
        self._responder.counts.given += count

    def _reply(self, slot: int, query: bytes, host: str | None) -> bytes | None:
        """Return the answer to a query that is not ready, or None: then it comes later, or never.

        `host` is the address of another machine, None for this one.
        """
        batch, responder = self._batch, self._responder
        reply = responder.udp(query, port=batch.port(slot)) if host is None else responder.remote(query, host)
        if reply is None and (later := responder.take_later()) is not None:
            self._late.expect(later, batch.asker(slot), batch.reply_from(slot))
        return reply

    def _remote(self, sources: Sequence[Source]) -> dict[int, str]:
        """Return the slots with sources that are not local, with their addresses; remember the local sources."""
        remote: dict[int, str] = {}
        for slot, source in enumerate(sources):
            if source in self._local:
                continue
            host = self._batch.host(slot)
            if not self._is_local(host):
                remote[slot] = host
            elif len(self._local) < MAX_KNOWN:
                self._local.add(source)
            else:
                self._local = {source}
        return remote
