"""Many readers of streams in one thread: plain sockets and epoll, so that reading costs little beside writing."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from typing import Final

OPENING_S: Final = 60.0
_ROOM: Final = 256 * 1024
# Connections begun at a time: a listener takes them in turns.
_AT_ONCE: Final = 200


class StreamReaders:
    """`count` connections to a port, which have sent `request` and read everything up to `opened`."""

    def __init__(self, port: int, count: int, request: bytes, opened: bytes) -> None:
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._port = port
        self._request = request
        self._opened = opened
        self.add(count)

    def add(self, count: int) -> None:
        """Add so many readers, and wait until each has its opening."""
        for start in range(0, count, _AT_ONCE):
            added = set()
            for _ in range(start, min(count, start + _AT_ONCE)):
                reader = socket.create_connection(("127.0.0.1", self._port), timeout=10)
                reader.sendall(self._request)
                reader.setblocking(False)
                self._sockets[reader.fileno()] = reader
                self._poll.register(reader.fileno(), select.EPOLLIN)
                added.add(reader.fileno())
            tails = dict.fromkeys(added, b"")

            def see(number: int, data: bytes, _added: set[int] = added, _tails: dict[int, bytes] = tails) -> None:
                if number in _added:
                    _tails[number] = (_tails[number] + data)[-2 * len(self._opened) - len(data) :]
                    if self._opened in _tails[number]:
                        _added.discard(number)

            self.read(see, lambda _added=added: not _added, OPENING_S)  # type: ignore[misc]  # mypy cannot infer a lambda with a default

    def __len__(self) -> int:
        return len(self._sockets)

    def read(
        self, see: Callable[[int, bytes], None], done: Callable[[], bool], timeout_s: float, wait_s: float = 0.02
    ) -> None:
        """Call `see` with a reader's number and what it got, until `done`, asked each `wait_s`. Raises TimeoutError."""
        ends = time.monotonic() + timeout_s
        sockets = self._sockets
        while not done():
            if time.monotonic() > ends:
                raise TimeoutError
            for number, _ in self._poll.poll(wait_s, 64):
                data = sockets[number].recv(_ROOM)
                if not data:
                    raise ConnectionResetError("a stream has ended")
                see(number, data)

    def until_each_has(self, marker: bytes, timeout_s: float = 20.0) -> int:
        """Read until every reader has got `marker`; return when the last one did (perf_counter_ns)."""
        missing = set(self._sockets)
        tails: dict[int, bytes] = {}

        def see(number: int, data: bytes) -> None:
            if marker in data or marker in tails.get(number, b"") + data:
                missing.discard(number)
            else:
                tails[number] = data[-len(marker) :]

        self.read(see, lambda: not missing, timeout_s)
        return time.perf_counter_ns()

    def rest(self, seconds: float) -> None:
        """Read for so long, and look at nothing."""
        ends = time.monotonic() + seconds
        self.read(lambda _number, _data: None, lambda: time.monotonic() >= ends, seconds + 5)

    def close(self) -> None:
        """Leave."""
        for reader in self._sockets.values():
            reader.close()
        self._sockets.clear()
        self._poll.close()
