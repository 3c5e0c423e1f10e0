"""Measures how long one change takes to reach the last of 4,000 watchers behind four followers of one replica.

The baseline is the same change at the last of 1,000 watchers of one replica, in turn with the tree. A watcher here is a
socket that becomes readable: what has arrived is read, and compared, once all of them are. So reading takes no time
from the servers, which have both processors; the watchers of one follower are written to by one process.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from bench.fanout import WATCH, marked_registration, watched_replica
from bench.machine import cpu_us, pin, unpin
from bench.rows import Figure, Result
from tests.programs import Program

FOLLOWERS: Final = 4
WATCHERS: Final = 1_000  # of each
GOAL: Final = 2.0
LIMIT_S: Final = 20.0
# Between two changes: everything that was written has been read, and nobody is behind.
_APART_S: Final = 0.2
# How long this program sleeps before it looks again at which sockets are readable.
_LOOK_S: Final = 0.0002
_ROOM: Final = 256 * 1024
_AT_ONCE: Final = 200


class ReadySockets:
    """Watchers of several ports. They note that something has arrived, and read it later."""

    def __init__(self, ports: Sequence[int], of_each: int) -> None:
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        for port in ports:
            for start in range(0, of_each, _AT_ONCE):
                self._add(port, min(_AT_ONCE, of_each - start))

    def __len__(self) -> int:
        return len(self._sockets)

    def arrived(self) -> int:
        """Wait until something has arrived at every watcher; return when (perf_counter_ns). Raises TimeoutError."""
        missing, ends = set(self._sockets), time.monotonic() + LIMIT_S
        while True:
            for number, _ in self._poll.poll(0, len(self._sockets)):
                missing.discard(number)
            now = time.perf_counter_ns()
            if not missing:
                return now
            if time.monotonic() > ends:
                raise TimeoutError(f"nothing has arrived at {len(missing)} of {len(self)} watchers")
            time.sleep(_LOOK_S)

    def read(self) -> dict[int, bytes]:
        """Return what has arrived at each watcher."""
        got = {number: _received(one) for number, one in self._sockets.items()}
        self._poll.poll(0, len(self._sockets))  # those events are dealt with
        return got

    def close(self) -> None:
        """Leave."""
        for one in self._sockets.values():
            one.close()
        self._poll.close()

    def _add(self, port: int, count: int) -> None:
        added = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(count)]
        for one in added:
            one.sendall(WATCH)
        for one in added:
            opening = b""
            while b'"sync"' not in opening:
                opening = opening[-16:] + one.recv(_ROOM)
            one.setblocking(False)
            self._sockets[one.fileno()] = one
            self._poll.register(one.fileno(), select.EPOLLIN | select.EPOLLET)


class ChangesToAll:
    """Changes at one replica, and when each is at the last watcher of some ports."""

    def __init__(self, port: int, programs: Sequence[Program], watchers: ReadySockets) -> None:
        self._writer = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._programs = programs
        self._watchers = watchers
        self.took_ms: list[float] = []
        self.cpu_ms: list[float] = []

    def change(self, marker: bytes) -> None:
        """Make a change; note how long it took, unless a sign of life came at the same time."""
        time.sleep(_APART_S)
        self._watchers.read()
        before_us, began = self._cpu_us(), time.perf_counter_ns()
        self._writer.sendall(marked_registration(marker))
        ended = self._watchers.arrived()
        got = self._watchers.read().values()
        answer = self._writer.recv(65536)
        assert answer.startswith(b"HTTP/1.1 201"), answer
        if all(b"change-" + marker in each and b'"sync"' not in each for each in got):
            self.took_ms.append((ended - began) / 1e6)
            self.cpu_ms.append((self._cpu_us() - before_us) / 1e3)

    def _cpu_us(self) -> float:
        return sum(cpu_us(program.pid) for program in self._programs)


def measure(count: int) -> Sequence[Result]:
    """Return the rows. The number of changes grows with `count`."""
    before = os.sched_getaffinity(0)
    with contextlib.ExitStack() as stack:
        stack.callback(unpin, before)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vertice-bench-")))
        alone_port, alone = stack.enter_context(watched_replica(folder))
        port, replica = stack.enter_context(watched_replica(folder))
        follow = {"REGISTRY_FOLLOW": f"http://127.0.0.1:{port}"}
        followers = [stack.enter_context(watched_replica(folder, **follow)) for _ in range(FOLLOWERS)]
        pin([alone.pid])
        _spread([replica, *(program for _, program in followers)], before)
        ones = ReadySockets([alone_port], WATCHERS)
        stack.callback(ones.close)
        everyone = ReadySockets([port for port, _ in followers], WATCHERS)
        stack.callback(everyone.close)
        single = ChangesToAll(alone_port, [alone], ones)
        tree = ChangesToAll(port, [replica, *(program for _, program in followers)], everyone)
        for number in range(max(15, count // 12)):
            for one in (single, tree):
                one.change(b"%06d" % number)
        against = f"the same change at the last of {WATCHERS} watchers of one replica"
        alone_ms, tree_ms = statistics.median(single.took_ms), statistics.median(tree.took_ms)
        alone_cpu, tree_cpu = statistics.median(single.cpu_ms), statistics.median(tree.cpu_ms)
        name = f"one change at the last of {len(everyone)} watchers of {FOLLOWERS} followers"
        return [
            Figure(name, "ms", tree_ms, against, alone_ms, GOAL * alone_ms),
            # Each follower reads the change and writes it as often as that one replica does.
            Figure(f"{name}: CPU of all servers", "ms", tree_cpu, against, alone_cpu, (FOLLOWERS + 1) * alone_cpu),
        ]


def _spread(programs: Sequence[Program], processors: Iterable[int]) -> None:
    """Give each program one of the processors, in turn."""
    given = sorted(processors)
    for number, program in enumerate(programs):
        for thread in Path(f"/proc/{program.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {given[number % len(given)]})


def _received(one: socket.socket) -> bytes:
    """Return what has arrived at a socket, and is not read yet."""
    got = b""
    with contextlib.suppress(BlockingIOError):
        while data := one.recv(_ROOM):
            got += data
    return got
