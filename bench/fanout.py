"""Measures how long one change takes to reach the last of 1,000 watchers of one replica, and what it costs the replica.

The baseline is a bare server on uvloop that writes the same bytes to as many connections, on the same processor, in
turn with the replica. The readers have the other processor.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.load import request
from bench.machine import cpu_us, pin, unpin
from bench.rows import Figure, Result
from bench.stream_readers import StreamReaders
from tests.programs import NO_INSTANCE_LIMITS, VERTICE, Program, accepts, free_port, running, wait_until

WATCHERS: Final = 1_000
GOAL: Final = 1.5
# Between two changes: the replica rests after a round of writes, and what was read is out of the way.
_APART_S: Final = 0.15
WATCH: Final = b"GET /watch HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Watch-Protocol: 2\r\n\r\n"


def measure(count: int) -> Sequence[Result]:
    """Return the rows. The number of changes grows with `count`."""
    before = os.sched_getaffinity(0)
    with contextlib.ExitStack() as stack:
        stack.callback(unpin, before)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vertice-bench-")))
        port, registry = stack.enter_context(watched_replica(folder))
        bare_port, bare = stack.enter_context(_bare(folder))
        print(pin([registry.pid], beside=[]))
        pin([bare.pid])
        readers = StreamReaders(port, WATCHERS, WATCH, b'"sync"')
        stack.callback(readers.close)
        frame = _frame_of(readers, port)
        others = StreamReaders(bare_port, WATCHERS, WATCH, b"chunked")
        stack.callback(others.close)
        asks = [
            TimedChanges(port, registry, readers, marked_registration),
            TimedChanges(bare_port, bare, others, lambda marker: request("POST", "/", frame.replace(_MARK, marker))),
        ]
        for number in range(max(15, count // 12)):
            for one in asks:
                one.change(b"%06d" % number)
        replica, baseline = asks
        against = "a bare uvloop server that writes the same bytes"
        return [
            _figure(f"one change at the last of {WATCHERS} watchers", "ms", replica.took_ms, against, baseline.took_ms),
            _figure(f"one change to {WATCHERS} watchers: CPU", "ms", replica.cpu_ms, against, baseline.cpu_ms),
        ]


_MARK: Final = b"MARKED"


class TimedChanges:
    """One of the two servers, with what its changes took."""

    def __init__(
        self, port: int, program: Program, readers: StreamReaders, change_of: Callable[[bytes], bytes]
    ) -> None:
        self._writer = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._program = program
        self._readers = readers
        self._change_of = change_of
        self.took_ms: list[float] = []
        self.cpu_ms: list[float] = []

    def change(self, marker: bytes) -> None:
        """Make a change, and note how long it took to reach the last reader."""
        self._readers.rest(_APART_S)
        change = self._change_of(marker)
        before_us, began = cpu_us(self._program.pid), time.perf_counter_ns()
        self._writer.sendall(change)
        ended = self._readers.until_each_has(b"change-" + marker)
        answer = self._writer.recv(65536)
        assert answer.startswith(b"HTTP/1.1 201"), answer
        self.took_ms.append((ended - began) / 1e6)
        self.cpu_ms.append((cpu_us(self._program.pid) - before_us) / 1e3)


def marked_registration(marker: bytes) -> bytes:
    """Return the request for a change with `marker` in it."""
    body = {
        "service_name": "fleet-service",
        "instance_id": "instance-1",
        "host": "10.1.2.3",
        "port": 8034,
        "version": "1.4.2",
        "metadata": {"team": "osint", "commit": f"change-{marker.decode()}"},
    }
    return request("POST", "/register", json.dumps(body).encode())


def _frame_of(readers: StreamReaders, port: int) -> bytes:
    """Return what the replica writes to a watcher for a change, with `_MARK` in it."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as writer:
        got: list[bytes] = []
        writer.sendall(marked_registration(_MARK))
        readers.read(lambda _, data: got.append(data), lambda: any(_MARK in each for each in got), 10)
        writer.recv(65536)
    readers.rest(0.5)
    return next(each for each in got if _MARK in each)


def _figure(name: str, unit: str, measured: list[float], against: str, baseline: list[float]) -> Figure:
    typical = statistics.median(baseline)
    return Figure(name, unit, statistics.median(measured), against, typical, GOAL * typical)


@contextlib.contextmanager
def watched_replica(folder: Path, **settings: str) -> Iterator[tuple[int, Program]]:
    """Run a replica that keeps its registrations in memory; yield its port and the program."""
    port = free_port()
    env = {
        "REGISTRY_LOG_LEVEL": "warning",
        "REGISTRY_WARMING": "0",
        "REGISTRY_LEASE_TTL": "3600",
        "REGISTRY_LIMIT_REGISTER": "off",
        "REGISTRY_LIMIT_LOOKUP": "off",
        **NO_INSTANCE_LIMITS,
        **settings,
    }
    argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
    with running(argv, folder / f"registry-{port}.log", env) as program:
        wait_until(lambda: accepts(port), "the replica listens", timeout_s=30)
        yield port, program


@contextlib.contextmanager
def _bare(folder: Path) -> Iterator[tuple[int, Program]]:
    port = free_port()
    argv = [sys.executable, "-m", "bench.bare_stream", str(port)]
    with running(argv, folder / f"bare-{port}.log") as program:
        wait_until(lambda: accepts(port), "the bare server listens")
        yield port, program
