"""Measures many watchers of one replica: the memory of each, and what steady changes cost and how late they come.

Every change is seen by its revision at every reader: none may be missing. The readers have the other processor. The
baseline of a change is the same as in `fanout.py`, so here are absolute figures, each beside its goal.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.fanout import WATCH, watched_replica
from bench.load import request
from bench.machine import cpu_us, pin, unpin
from bench.middle import resident_mb
from bench.rows import Figure, Result
from bench.stream_readers import StreamReaders
from tests.programs import Program

MANY: Final = 5_000
SOME: Final = 1_000
MOST_KB: Final = 20.0
LATEST_MS: Final = 250.0
STEADY_S: Final = 10.0
# As an agent asks, since the replica keeps the head of a request for as long as its answer lasts.
AGENT: Final = (
    b"GET /watch?renewals=1&acknowledges=1 HTTP/1.1\r\nHost: 127.0.0.1:38139\r\nUser-Agent: vertice-agent\r\n"
    b"X-Watch-Protocol: 2\r\nSignature-Input: "
    b'vertice=("@method" "@path" "@query" "x-watch-protocol");created=1795890112;nonce="tHu1bzk6sRYoEqx1H9v1aA";'
    b'keyid="shared";alg="hmac-sha256"\r\nSignature: vertice=:UIvAj0XsGPEgO2E8/t0Qt3ZTGUi7HZSsEQ8rcimx+Qw=:\r\n'
    b"Accept: */*\r\nAccept-Encoding: gzip, deflate\r\n\r\n"
)
_REVISION: Final = re.compile(rb'"position":"0\.[^.]+\.(\d+)"')
# A revision may be cut by the end of one read.
_LONGEST: Final = 64


class LostChange(Exception):
    """Raised when a reader has not got every change, each once and in order."""


class SteadyChanges:
    """Changes at a steady rate at one replica, and when each arrives at each reader."""

    def __init__(self, port: int, readers: StreamReaders) -> None:
        self._writer = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._readers = readers
        self._count = 0
        self._made = 0  # changes ever: each differs from what is registered
        self._sent_at: list[float] = []
        self._seen: dict[int, int] = {}  # by reader: the number of changes
        self._tails: dict[int, bytes] = {}
        self.late_ms: list[float] = []

    def run(self, per_s: float, seconds: float) -> None:
        """Send changes, and return once every reader has the last one. Raises LostChange, TimeoutError."""
        self._count, self._seen, self._sent_at, self.late_ms = int(per_s * seconds), {}, [], []
        self._first = 0  # the revision of the first change, once it is known
        self._tails = {}
        began = time.perf_counter()

        def done() -> bool:
            now = time.perf_counter()
            while len(self._sent_at) < self._count and now >= began + len(self._sent_at) / per_s:
                # From when it was due: a change that is sent late because of late answers counts as late.
                self._sent_at.append(began + len(self._sent_at) / per_s)
                self._made += 1
                self._writer.sendall(_change(self._made))
                if len(self._sent_at) % 8 == 0:
                    self._answers()
            return len(self._seen) == len(self._readers) and min(self._seen.values()) >= self._count

        self._readers.read(self._see, done, seconds + 30, wait_s=min(0.02, 0.5 / per_s))
        self._answers()

    def _answers(self) -> None:
        """Read the answers that are there."""
        with contextlib.suppress(BlockingIOError):
            while len(self._writer.recv(65536, socket.MSG_DONTWAIT)) == 65536:
                pass

    def _see(self, number: int, data: bytes) -> None:
        now = time.perf_counter()
        tail = self._tails.get(number, b"")
        found = _REVISION.findall(tail + data)
        self._tails[number] = b"" if data.endswith(b"\r\n") else (tail + data)[-_LONGEST:]
        if not found:
            return
        if not self._first:
            self._first = int(found[0])
        for revision in found:
            at = int(revision) - self._first
            seen = self._seen.get(number, 0)
            if at < seen and tail:
                continue  # it was whole in the tail
            if at != seen:
                raise LostChange(f"revision {revision!r} after {self._first + seen - 1}")
            self._seen[number] = seen + 1
        self.late_ms.append((now - self._sent_at[int(found[0]) - self._first]) * 1e3)


def _change(number: int) -> bytes:
    body = {
        "service_name": f"fleet-service-{number % 50}",
        "instance_id": f"instance-{number % 50}",
        "host": f"10.1.2.{number % 50}",
        "port": 8034,
        "version": "1.4.2",
        "metadata": {"team": "osint", "commit": f"{number:08x}"},
    }
    return request("POST", "/register", json.dumps(body).encode())


def measure(count: int) -> Sequence[Result]:
    """Return the rows. Steady changes last longer with `count`."""
    before = os.sched_getaffinity(0)
    seconds = STEADY_S * min(count, 1000) / 500
    with tempfile.TemporaryDirectory(prefix="vertice-bench-") as name:
        try:
            figures = _many(Path(name), seconds)
            unpin(before)
            return [*figures, *_fast(Path(name), seconds)]
        finally:
            unpin(before)


def _many(folder: Path, seconds: float) -> list[Figure]:
    """Return the memory of 1,000 and 5,000 watchers, and the processor time of the latter with 5 changes a second."""
    with contextlib.ExitStack() as stack:
        port, program = stack.enter_context(watched_replica(folder))
        print(pin([program.pid]))
        warm = StreamReaders(port, 50, WATCH, b'"sync"')
        warm.close()
        time.sleep(1)
        empty_mb = resident_mb(program.pid)
        readers = StreamReaders(port, SOME, AGENT, b'"sync"')
        stack.callback(readers.close)
        figures = [_memory(program, empty_mb, readers)]
        readers.add(MANY - SOME)
        figures.append(_memory(program, empty_mb, readers))
        share, latest, typical = _cpu(program, SteadyChanges(port, readers), 5, seconds)
        what = f"{MANY} watchers, 5 changes/s"
        return [
            *figures,
            Figure(f"{what}: CPU", "% of a core", share, "one core", 100.0, 100.0),
            Figure(f"{what}: latest arrival", "ms", latest, "the median", typical, 1000.0),
        ]


def _fast(folder: Path, seconds: float) -> list[Figure]:
    """Return the processor time of 200 changes a second to 1,000 watchers, and how late the latest comes."""
    with contextlib.ExitStack() as stack:
        port, program = stack.enter_context(watched_replica(folder))
        print(pin([program.pid]))
        readers = StreamReaders(port, SOME, WATCH, b'"sync"')
        stack.callback(readers.close)
        steady = SteadyChanges(port, readers)
        _cpu(program, steady, 200, 2.0)
        share, latest, typical = _cpu(program, steady, 200, seconds)
        what = f"{SOME} watchers, 200 changes/s, none lost"
        return [
            Figure(f"{what}: CPU", "% of a core", share, "one core", 100.0, 100.0),
            Figure(f"{what}: latest arrival", "ms", latest, "the median", typical, LATEST_MS),
        ]


def _memory(program: Program, empty_mb: float, readers: StreamReaders) -> Figure:
    readers.rest(6.0)  # a sign of life has gone to all
    each_kb = (resident_mb(program.pid) - empty_mb) * 1024 / len(readers)
    return Figure(f"memory of a watcher, of {len(readers)}", "kB", each_kb, "the goal", MOST_KB, MOST_KB)


def _cpu(program: Program, steady: SteadyChanges, per_s: float, seconds: float) -> tuple[float, float, float]:
    """Return the share of a core in percent, the latest arrival and the median, in milliseconds."""
    before_us, began = cpu_us(program.pid), time.perf_counter()
    steady.run(per_s, seconds)
    share = (cpu_us(program.pid) - before_us) / 1e4 / (time.perf_counter() - began)
    return share, max(steady.late_ms), statistics.median(steady.late_ms)
