"""The fast way to take datagrams off a socket: 64 for each system call, and their answers as well.

For those that have a ready answer, which is nearly all, nothing is done one by one: keys are cut, looked up
and answered by the column, and the kernel takes the answers from where they lie. The rest (new questions,
unusual spellings, long ones, strangers) goes through the responder, as over every transport.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from dns.answer_cache import NONE_READY, Ready
from dns.mmsg import HEAD, ID, PLACE, Batch, Calls, Source, place_of
from dns.one_by_one_udp import BATCH, MAX_QUERY
from dns.responder import Responder

# Answers that have to be made take 20 times as long as ready ones. After a batch with more than a few of
# them the next one is smaller, so that a flood of new names takes no longer turns than one of known names.
_FEW: Final = 8
_SMALL_BATCH: Final = 16
# Sources that are known to be let in. Senders of datagrams choose their address, so they choose how many.
_MAX_KNOWN: Final = 4096
_SILENCE: Final = Ready(bytes(PLACE), b"")
_place_of_ready: Final = itemgetter(0)


class Batched:
    """Answers what arrives at one socket. `drain` is called when something has."""

    def __init__(self, responder: Responder, listening: socket.socket, calls: Calls) -> None:
        self._responder = responder
        self._batch = Batch(calls, listening, size=BATCH, most=MAX_QUERY)
        self._size = BATCH  # of the next batch
        self._admitted: set[Source] = set()
        self.dropped = 0  # answers that could not be sent

    def drain(self) -> None:
        """Answer what has arrived, and at most a batch of it."""
        batch = self._batch
        lengths = batch.receive(self._size)
        if not lengths:
            return
        count = len(lengths)
        keys = batch.keys(lengths)
        refused: set[int] = set()
        if not self._admitted.issuperset(sources := batch.sources(count)):
            refused = self._refused(sources)
        if refused or max(lengths) > ID + HEAD:
            # A stranger uses up no ready answer, and a long key would end in its neighbour's slot.
            for slot, length in enumerate(lengths):
                if length > ID + HEAD or slot in refused:
                    keys[slot] = b""
        ready = self._responder.ready(keys)
        places = b"".join(map(_place_of_ready, ready))
        if len(places) == count * PLACE:
            self._size = BATCH
            batch.answer(places)
            self.dropped += batch.send(0, count)
        else:
            self._answer_one_by_one(lengths, ready, refused)

    def _answer_one_by_one(self, lengths: Sequence[int], ready: list[Ready], refused: set[int]) -> None:
        """Have the answers made that are not ready yet, and send them and the others."""
        batch, silent = self._batch, []
        made_before = self._responder.misses
        for slot, length in enumerate(lengths):
            if ready[slot] is not NONE_READY:
                continue
            query = batch.datagram(slot, length)
            reply = self._responder.refuse(query) if slot in refused else self._responder.udp(query)
            if reply is None:
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
            self.dropped += batch.send(first, slot)
            first = slot + 1

    def _refused(self, sources: Sequence[Source]) -> set[int]:
        """Return the slots of those who may not ask, and remember who may."""
        refused = set()
        for slot, source in enumerate(sources):
            if source in self._admitted:
                continue
            if not self._responder.admits(self._batch.host(slot)):
                refused.add(slot)
            elif len(self._admitted) < _MAX_KNOWN:
                self._admitted.add(source)
            else:
                self._admitted = {source}
        return refused
