"""The fast way to take datagrams off a socket: 64 for each system call, and their answers as well.

For those that have a ready answer, which is nearly all, nothing is done one by one: keys are cut, looked up
and answered by the column, and the kernel takes the answers from where they lie. The rest (new questions,
unusual spellings, long ones, other machines) goes through the responder, as over every transport.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from dns.answer_cache import NONE_READY, Ready
from dns.late_answers import LateAnswers
from dns.mmsg import HEAD, ID, PLACE, Batch, Calls, Source, place_of
from dns.one_by_one_udp import BATCH, MAX_QUERY
from dns.responder import Responder

# Answers that have to be made take 20 times as long as ready ones. After a batch with more than a few of
# them the next one is smaller, so that a flood of new names takes no longer turns than one of known names.
_FEW: Final = 8
_SMALL_BATCH: Final = 16
# Sources that are known to be local. This machine has many addresses of its own (127.0.0.0/8).
_MAX_KNOWN: Final = 4096
_SILENCE: Final = Ready(bytes(PLACE), b"")
_place_of_ready: Final = itemgetter(0)


class Batched:
    """Answers what arrives at one socket. `drain` is called when something has."""

    def __init__(self, responder: Responder, listening: socket.socket, calls: Calls) -> None:
        self._responder = responder
        self._batch = Batch(calls, listening, size=BATCH, most=MAX_QUERY)
        self._size = BATCH  # of the next batch
        self._local: set[Source] = set()
        self._late = LateAnswers(responder, listening)
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Answers that could not be sent."""
        return self._dropped + self._late.dropped

    def drain(self) -> None:
        """Answer what has arrived, and at most a batch of it."""
        batch = self._batch
        lengths = batch.receive(self._size)
        if not lengths:
            return
        count = len(lengths)
        keys = batch.keys(lengths)
        remote: dict[int, str] = {}
        if not self._local.issuperset(sources := batch.sources(count)):
            remote = self._remote(sources)
        if remote or max(lengths) > ID + HEAD:
            # What goes to other machines is limited first, and a long key would end in its neighbour's slot.
            for slot, length in enumerate(lengths):
                if length > ID + HEAD or slot in remote:
                    keys[slot] = b""
        ready = self._responder.ready(keys)
        places = b"".join(map(_place_of_ready, ready))
        if len(places) == count * PLACE:
            self._size = BATCH
            batch.answer(places)
            self._dropped += batch.send(0, count)
        else:
            self._answer_one_by_one(lengths, ready, remote)

    def _answer_one_by_one(self, lengths: Sequence[int], ready: list[Ready], remote: dict[int, str]) -> None:
        """Have the answers made that are not ready yet, and send them and the others."""
        batch, responder, silent = self._batch, self._responder, []
        made_before = responder.misses
        for slot, length in enumerate(lengths):
            if ready[slot] is not NONE_READY:
                continue
            query = batch.datagram(slot, length)
            host = remote.get(slot)
            reply = responder.udp(query) if host is None else responder.remote(query, host)
            if reply is None:
                # It cannot wait here: the next batch takes this slot.
                self._late.expect(batch.asker(slot))
                silent.append(slot)
                ready[slot] = _SILENCE
            else:
                answer = reply[ID:]
                ready[slot] = Ready(place_of(answer), answer)
        made = responder.misses - made_before
        self._size = _SMALL_BATCH if made > _FEW else BATCH
        batch.answer(b"".join(map(_place_of_ready, ready)))
        first = 0
        for slot in (*silent, len(lengths)):
            self._dropped += batch.send(first, slot)
            first = slot + 1

    def _remote(self, sources: Sequence[Source]) -> dict[int, str]:
        """Return the slots of those who are not local, with their addresses, and remember who is."""
        remote: dict[int, str] = {}
        for slot, source in enumerate(sources):
            if source in self._local:
                continue
            host = self._batch.host(slot)
            if not self._responder.is_local(host):
                remote[slot] = host
            elif len(self._local) < _MAX_KNOWN:
                self._local.add(source)
            else:
                self._local = {source}
        return remote
