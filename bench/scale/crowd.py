"""Simulated agents: their watches, and requests at a pace, with the head of a real agent's own requests.

A watch is read and counted, not decoded. A refusal with `Retry-After` is heeded.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Sequence
from typing import Final, cast

import msgspec

from bench.load import Client, connected, request

MOST_TRIES: Final = 100
WITHIN_S: Final = 120.0
KEPT_S: Final = 15.0  # how long an agent keeps a connection without a request
_CURSOR: Final = re.compile(rb'"cursor":"([^"]+)"')
_WATCHER: Final = re.compile(rb"(?i)\r\nX-Watcher: *(\S+)")
_RETRY: Final = re.compile(rb"(?i)\r\nRetry-After: *(\d+)")
_SYNC: Final = b'"type":"sync"'


class SimulatedWatch(asyncio.Protocol):
    """One watch: counts what it gets. `ready` is done once the opening has arrived, with whether it was admitted."""

    def __init__(self, head: bytes) -> None:
        self.octets = 0
        self.reads = 0
        self.watcher = b""
        self.cursor = b""
        self.retry_s = 0.0
        self.ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._head = head
        self._first = b""
        self._tail = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        self.octets += len(data)
        self.reads += 1
        if self.ready.done():
            return
        if not self.watcher:
            self._first += data[:4096]
            if b"\r\n\r\n" not in self._first:
                return
            if not self._first.startswith(b"HTTP/1.1 200"):
                found = _RETRY.search(self._first)
                self.retry_s = float(found[1]) if found else 1.0
                self.ready.set_result(False)
                return
            named = _WATCHER.search(self._first)
            self.watcher = named[1] if named else b"-"
        tail = self._tail + data[-4096:]
        if _SYNC in tail:
            cursors = _CURSOR.findall(tail)
            self.cursor = cursors[-1] if cursors else b""
            self.ready.set_result(True)
        self._tail = tail[-4096:]

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.ready.done():
            self.retry_s = 1.0
            self.ready.set_result(False)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def resuming(head: bytes, cursor: bytes) -> bytes:
    """Return the head of a watch that goes on from `cursor`."""
    return head.replace(b" HTTP/1.1", b"&cursor=" + cursor + b" HTTP/1.1", 1)


async def one_watch(port: int, head: bytes) -> SimulatedWatch:
    """Return a watch whose opening has arrived. Raises TimeoutError when it is not admitted in time."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(WITHIN_S):
        for _ in range(MOST_TRIES):
            _, watch = await loop.create_connection(lambda: SimulatedWatch(head), "127.0.0.1", port)
            if await watch.ready:
                return watch
            watch.close()
            await asyncio.sleep(watch.retry_s)
    raise TimeoutError("the registry never admitted the watch")


async def watches(port: int, count: int, head: bytes, at_once: int = 16) -> list[SimulatedWatch]:
    """Return so many watches, opened `at_once` at a time."""
    gate = asyncio.Semaphore(at_once)

    async def opened() -> SimulatedWatch:
        async with gate:
            return await one_watch(port, head)

    return list(await asyncio.gather(*(opened() for _ in range(count))))


def octets_of(crowd: Iterable[SimulatedWatch]) -> int:
    """Return the octets that all of them have got."""
    return sum(watch.octets for watch in crowd)


class Exchanged(msgspec.Struct):
    """What was sent at a pace: requests, and octets of requests and answers."""

    requests: int = 0
    octets: int = 0


async def paced(
    port: int, requests: Sequence[bytes], per_s: float, *, anew: bool, status: bytes = b"200", connections: int = 16
) -> Exchanged:
    """Send `requests` evenly, each when it is due, on kept connections or, `anew`, each on a new one.

    A new one stays open for as long as an agent keeps it. Raises UnexpectedStatus for any other status.
    """
    done = Exchanged()
    loop = asyncio.get_running_loop()
    kept = [] if anew else [await connected(port, status) for _ in range(connections)]
    idle: asyncio.Queue[Client] = asyncio.Queue()
    for client in kept:
        idle.put_nowait(client)

    async def send(each: bytes) -> None:
        client = await connected(port, status) if anew else await idle.get()
        answer = await client.ask(each)
        done.requests += 1
        done.octets += len(each) + len(answer)
        if anew:
            loop.call_later(KEPT_S, client.close)
        else:
            idle.put_nowait(client)

    began = time.perf_counter()
    try:
        async with asyncio.timeout(len(requests) / per_s + WITHIN_S), asyncio.TaskGroup() as tasks:
            for number, each in enumerate(requests):
                await asyncio.sleep(max(0.0, began + number / per_s - time.perf_counter()))
                tasks.create_task(send(each))
    finally:
        for client in kept:
            client.close()
    return done


def ack(watch: SimulatedWatch) -> bytes:
    """Return a request that acknowledges a watch."""
    body = msgspec.json.encode({"watcher": watch.watcher.decode(), "cursor": watch.cursor.decode()})
    return request("POST", "/watch/ack", body)
