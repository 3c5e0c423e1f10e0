"""A thousand readers of the watch that return together, in one process: each one waits for the end of its snapshot.

They come when agents would that lost their streams at the same moment, and whose registry is back after DOWN_S: each
tries again by its back-off. A refused one comes back as an agent does, too: after Retry-After, and up to a second more.
They do not unpack what they get, since a thousand agents have a thousand machines for it; some are read for real at the
end.
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final, cast

import msgspec
import uvloop

from registry_core.upstreams.retries import watch_retry_s
from registry_core.watch.changes import Moved, Replaced
from registry_core.watch.cursor import parse_cursor
from registry_core.watch.packing import DEFLATE, PACKING_HEADER
from registry_core.watch.reader import WatchReader

READ_FOR_REAL: Final = 5
DOWN_S: Final = 3.0
BARE: Final = "bare"  # instead of a cursor: what is read is not a watch
TIMEOUT_S: Final = 60.0
_RETRY: Final = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE)
_END: Final = b'"type":"sync"'
_TAIL: Final = 16  # octets kept of what was read before, in case that the end arrives in two parts


class Return(msgspec.Struct, frozen=True):
    """What the readers saw: seconds until each had its view, octets of the first, and how often they were refused."""

    took_s: tuple[float, ...]
    octets: int
    refused: int
    instances: int  # of those that were read for real, the fewest


def returns_after_s(draw: Callable[[], float]) -> float:
    """Return when an agent tries for the first time after its registry is back, in seconds."""
    at_s, failures = 0.0, 0
    while at_s < DOWN_S:
        failures += 1
        at_s += watch_retry_s(failures, draw(), 1)
    return at_s - DOWN_S


class Reader(asyncio.Protocol):
    """One reader. `done` has the body of what it read; None when it was refused, with `retry_after_s`."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._pieces: list[bytes] = []
        self._tail = b""
        self.retry_after_s = 0.0
        self.done: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.done.done():
            return
        if not self._pieces and not data.startswith(b"HTTP/1.1 200"):
            found = _RETRY.search(data)
            self.retry_after_s = float(found[1]) if found else 1.0
            self.done.set_result(None)
            return
        self._pieces.append(data)
        if _END in self._tail + data:
            self.done.set_result(b"".join(self._pieces))
        self._tail = data[-_TAIL:]

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def request(cursor: str) -> bytes:
    """Return the request of an agent that comes back with this cursor."""
    query = f"&cursor={cursor}" if cursor else ""
    return (
        f"GET /watch?acknowledges=1{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Watch-Protocol: 2\r\n"
        f"{PACKING_HEADER}: {DEFLATE}\r\n\r\n"
    ).encode()


async def come_back(port: int, count: int, cursor: str) -> Return:
    """Let `count` readers come at once, and return what they saw."""
    loop, began = asyncio.get_running_loop(), time.perf_counter()
    took: list[float] = []
    bodies: list[bytes] = []
    refused = 0
    readers: list[Reader] = []

    async def one() -> None:
        nonlocal refused
        await asyncio.sleep(0 if cursor == BARE else returns_after_s(random.random))
        while True:
            _, reader = await loop.create_connection(lambda: Reader(request(cursor)), "127.0.0.1", port)
            body = await reader.done
            if body is not None:
                took.append(time.perf_counter() - began)
                if len(bodies) < READ_FOR_REAL:
                    bodies.append(body)
                readers.append(reader)
                return
            refused += 1
            reader.close()
            await asyncio.sleep(reader.retry_after_s + random.random())

    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(*(one() for _ in range(count)))
    for reader in readers:
        reader.close()
    counts = [0] if cursor == BARE else [_instances_of(body, cursor) for body in bodies]
    return Return(tuple(took), len(bodies[0]), refused, min(counts))


def _instances_of(answer: bytes, cursor: str) -> int:
    """Read an answer as an agent does; return the number of instances that it brought."""
    reader = WatchReader(parse_cursor(cursor))
    for change in reader.feed(_unchunked(answer.partition(b"\r\n\r\n")[2])):
        if isinstance(change, Replaced | Moved):
            return len(change.instances)
    return 0


def _unchunked(body: bytes) -> bytes:
    """Return the content of the complete chunks (RFC 9112 section 7.1)."""
    pieces: list[bytes] = []
    at = 0
    while (end := body.find(b"\r\n", at)) >= 0:
        size = int(body[at:end], 16)
        pieces.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return b"".join(pieces)


def main(arguments: Sequence[str]) -> None:
    """Run with a port, a number of readers, and a cursor or nothing; print the result as JSON."""
    port, count, cursor = arguments
    result = uvloop.run(come_back(int(port), int(count), cursor))
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
