"""Answers datagrams in a thread of its own, so that work on the event loop delays no ready answer.

The thread only takes: ready answers from the cache, which the loop alone fills, and allowances of the rate limit, which
has a lock. Everything else it hands over to the loop. What it counts, it alone writes, and the loop reads.

With little to do it waits for one datagram at a time, in the kernel: a datagram then costs two system calls. With more
it takes them in batches, and lets each grow for a moment.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import Final

import structlog

from dns.answer_cache import NONE_READY, folded, respelled
from dns.batched_udp import MAX_KNOWN, Batched
from dns.handed_over import HandedOver, HandingOver
from dns.mmsg import HEAD, ID, Calls
from dns.one_by_one_udp import BATCH
from dns.rate_limit import RateLimitAction
from dns.reply_source import ReplySource
from dns.responder import Responder
from dns.timer_slack import sleep_on_time
from registry_core.blocking import Job, NoThread, Threads

# A thread that holds the interpreter's lock gives it up after that time. Python's default of 5 ms would be the delay of
# an answer for which the lock has to be had once.
SWITCH_S: Final = 0.0005
# How long the thread waits for a datagram before it looks whether it is to end, where nothing can wake it.
WAIT_S: Final = 1
END_S: Final = 2.0
# Datagrams taken one by one before the thread looks whether more of them wait.
_ONES: Final = 32
# How long a batch grows once batches are larger than one. Half of it saves little, and twice as much shows in latency.
_GROW_S: Final = 50e-6
# After a failure that nobody thought of, so that it cannot take a whole processor.
_PAUSE_S: Final = 0.01

_log = structlog.get_logger(component="dns")


def can_have_threads() -> bool:
    """Return whether threads may share the cache of ready answers: whether there is an interpreter lock."""
    is_locked = getattr(sys, "_is_gil_enabled", lambda: True)
    return sys.implementation.name == "cpython" and bool(is_locked())


class BesideLoop(Batched):
    """Answers the datagrams of one socket, which it owns, in a thread from `begin` to `end`."""

    def __init__(
        self, responder: Responder, listening: socket.socket, source: ReplySource | None, calls: Calls
    ) -> None:
        super().__init__(responder, listening, source, calls)
        self._socket = listening
        self._limits = responder.limits.for_a_thread()
        self._is_local = self._limits.is_local
        self._counts = responder.counts.of_a_thread()
        self._unready = 0  # datagrams of a batch for which no ready answer was found so far
        self._local_addresses: set[bytes] = set()  # their octets
        self._first, self._taker = self._batch.first(), responder.taker()
        self._loop_queue = HandingOver(responder, listening)
        self._failures = 0
        self._is_ending = False
        self._job: Job[None] | None = None

    @property
    def dropped(self) -> int:
        """Answers that could not be sent, and questions for which there was no room."""
        return super().dropped + self._loop_queue.dropped

    @property
    def received(self) -> int:
        """Datagrams that were read."""
        return super().received + self._counts.received

    @property
    def too_late(self) -> int:
        """Queries that had waited for longer than their askers do, and were not answered."""
        return super().too_late + self._loop_queue.too_late

    def begin(self) -> bool:
        """Start the thread, and return whether there is one now; otherwise call `drain`, on the loop."""
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", WAIT_S, 0))
        try:
            self._job = Threads("DNS", 1).begin(self._serve)
        except NoThread as error:
            self._socket.setblocking(False)
            _log.warning("dns_without_thread", because=str(error.strerror))
            return False
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))
        return True

    def end(self) -> Job[None] | None:
        """Stop the thread, which then closes the socket, and return its work; None when there is no thread."""
        if self._job is not None:
            self._is_ending = True
            with contextlib.suppress(OSError):
                # It fails, since the socket is not connected, but wakes a thread that waits for a datagram.
                self._socket.shutdown(socket.SHUT_RD)
        return self._job

    def _serve(self) -> None:
        """Answer until `end`: the thread."""
        sleep_on_time()
        try:
            while not self._is_ending:
                try:
                    self._serve_some()
                except Exception:  # noqa: BLE001 - whatever one packet provokes, the thread has to answer the next; it is logged and counted
                    self._failures += 1
                    if self._failures & (self._failures - 1) == 0:
                        _log.exception("dns_thread_failed", failures=self._failures)
                    time.sleep(_PAUSE_S)
        finally:
            # By the thread itself: a number that is closed while a thread waits on it may soon be another file's.
            self._socket.close()

    def _serve_some(self) -> None:
        """Answer some datagrams one by one, then batches for as long as they are larger than one."""
        began = time.monotonic()
        if not self._serve_ones() and time.monotonic() - began < WAIT_S:
            time.sleep(_PAUSE_S)  # a broken socket, which does not wait
        while not self._is_ending and (count := self._take(BATCH)) > 1:
            if count < BATCH:
                time.sleep(_GROW_S)

    def _serve_ones(self) -> bool:
        """Wait for some datagrams and answer them one by one; return whether there were any."""
        wait, send, head, address, place, interface = self._first
        tell, ready_answers = self._taker
        local, counts, longest, failed = self._local_addresses, self._counts, ID + HEAD, 0
        for _ in range(_ONES):
            length = wait()
            if ID < length <= longest and address.tobytes() in local:
                tell(head[: length - ID].tobytes())
                ready = next(ready_answers)
                if ready is not NONE_READY:
                    place[:] = ready.place
                    if interface is not None:
                        interface[0] = 0
                    if send() < 0:
                        self._dropped += self._batch.send(0, 1)
                    counts.received += 1
                    continue
            if self._is_ending:
                return True
            if length < 0:
                failed += 1
                continue
            self._answer([length])
            if self._local.issuperset(self._batch.sources(1)):
                if len(local) >= MAX_KNOWN:
                    local.clear()
                local.add(address.tobytes())
        return failed < _ONES

    def _answer(self, lengths: Sequence[int]) -> None:
        self._unready = len(lengths)
        self._answer_all(lengths)
        self._counts.others += self._unready
        self._counts.received += len(lengths)

    def _give(self, count: int) -> None:
        self._unready -= count

    def _reply(self, slot: int, query: bytes, host: str | None) -> bytes | None:
        """Return the ready answer to a query of another machine, or in unusual spelling; hand others over."""
        limits = self._limits
        if host is not None and limits.admits(host):
            excess = limits.excess(query, host)
            if excess is not RateLimitAction.SEND:
                return limits.instead(query, host, excess)
        answer = self._ready_answer(query) if host is None or limits.admits(host) else None
        if answer is None:
            batch = self._batch
            asked = HandedOver(query, host, batch.asker(slot), batch.reply_from(slot), time.monotonic())
            self._loop_queue.put(asked)
            return None
        if host is None:
            return answer
        verdict = limits.verdict(answer, host)
        if verdict is not RateLimitAction.SEND:
            return limits.instead(query, host, verdict)
        return limits.brief(answer, query, host)

    def _ready_answer(self, query: bytes) -> bytes | None:
        """Return the ready answer to a query, as `ReadyAnswers.answer` does; None when the loop may have one."""
        key = query[ID:]
        (ready,) = self._responder.ready((key,))
        answer = ready.answer
        if ready is NONE_READY and (plain := folded(key)) != key:
            (ready,) = self._responder.ready((plain,))
            answer = respelled(ready.answer, key)
        if ready is NONE_READY:
            return None
        self._give(1)
        return query[:ID] + answer
