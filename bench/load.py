"""A load generator: HTTP/1.1 over persistent connections, at a given concurrency or rate.

It parses only the status and the end of an answer: it shares a processor with Redis, so that any time it uses is
missing there.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Final, cast

import msgspec

TIMEOUT_S: Final = 10.0
STEADY_CONNECTIONS: Final = 64
_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length:"


class UnexpectedStatus(Exception):
    """Raised when an answer has an unexpected status."""


class HttpLoad(msgspec.Struct, frozen=True):
    """The result of a load: the time of each request, in nanoseconds, and the total duration."""

    samples_ns: tuple[int, ...]
    took_s: float

    @property
    def per_s(self) -> float:
        return len(self.samples_ns) / self.took_s


class Client(asyncio.Protocol):
    """One connection, with one request in flight at a time."""

    def __init__(self, status: bytes = b"200") -> None:
        self._expected = b"HTTP/1.1 " + status
        self._buffer = b""
        self._needed = 0  # the length of the answer; 0 while its head is incomplete
        self._waiting: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._needed:
            head = self._buffer.find(_END)
            if head < 0:
                return
            at = self._buffer.lower().find(_LENGTH, 0, head + 2) + len(_LENGTH)
            self._needed = head + len(_END) + int(self._buffer[at : self._buffer.find(b"\r\n", at)])
        if len(self._buffer) >= self._needed:
            answer, self._buffer = self._buffer[: self._needed], self._buffer[self._needed :]
            self._needed = 0
            if self._waiting is not None and not self._waiting.done():
                if answer.startswith(self._expected):
                    self._waiting.set_result(answer)
                else:
                    self._waiting.set_exception(UnexpectedStatus(answer[:500].decode(errors="replace")))

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """Send a request; return a future for its answer, head and body."""
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._waiting

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def connected(port: int, status: bytes = b"200", tls: ssl.SSLContext | None = None) -> Client:
    """Return a connection that expects answers with that status, over TLS with `tls`."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Client(status), "127.0.0.1", port, ssl=tls)
    return client


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """Return a complete request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


async def flood(
    port: int, requests: Iterable[bytes], in_flight: int, status: bytes = b"200", tls: ssl.SSLContext | None = None
) -> HttpLoad:
    """Send all `requests`, `in_flight` at a time. Raises UnexpectedStatus for any other status."""
    clients = [await connected(port, status, tls) for _ in range(in_flight)]
    remaining = iter(requests)
    samples: list[int] = []

    async def worker(client: Client) -> None:
        for each in remaining:
            began = time.perf_counter_ns()
            await client.ask(each)
            samples.append(time.perf_counter_ns() - began)

    began = time.perf_counter()
    try:
        await asyncio.gather(*(worker(client) for client in clients))
        return HttpLoad(tuple(samples), time.perf_counter() - began)
    finally:
        _close(clients)


async def steady(port: int, requests: Sequence[bytes], per_s: float, status: bytes = b"200") -> HttpLoad:
    """Send each of `requests` when it is due, whether or not earlier ones were answered.

    A request's time counts from when it was due, so that sending late because of late answers does not hide a delay.
    """
    every = [await connected(port, status) for _ in range(STEADY_CONNECTIONS)]
    idle: asyncio.Queue[Client] = asyncio.Queue()
    for client in every:
        idle.put_nowait(client)
    samples: list[int] = []

    async def one(each: bytes, due: float) -> None:
        client = await idle.get()
        await client.ask(each)
        samples.append(int((time.perf_counter() - due) * 1e9))
        idle.put_nowait(client)

    began = time.perf_counter()
    try:
        async with asyncio.timeout(len(requests) / per_s + TIMEOUT_S), asyncio.TaskGroup() as tasks:
            for number, each in enumerate(requests):
                due = began + number / per_s
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                tasks.create_task(one(each, due))
        return HttpLoad(tuple(samples), time.perf_counter() - began)
    finally:
        _close(every)


def _close(clients: Iterable[Client]) -> None:
    for client in clients:
        client.close()
