"""A steady load of registrations, heartbeats and lookups on one replica, from its own process.

It tries everything once and hides nothing: each request without a successful answer counts as failed. On SIGTERM it
ends and writes to its file what was acknowledged, and when.

usage: python -m tests.chaos.load URL SEED FILE [FIRST]

Instances are numbered from FIRST on, so that several loads register different ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

WRITES_PER_S: Final = 60
LOOKUPS_PER_S: Final = 60
HEARTBEAT_EVERY_S: Final = 1.0
SERVICES: Final = 40
# Longer than any write is held, so that a slower one has failed.
TIMEOUT_S: Final = 20.0
# The limit of concurrent requests.
IN_FLIGHT: Final = 2_000


class Failure(msgspec.Struct, frozen=True):
    """One request that did not succeed."""

    kind: str
    at: float  # when it was sent, by the machine's monotonic clock, which all its processes share
    took_s: float
    status: int
    said: str
    retry_after: str = ""


class Result(msgspec.Struct):
    """The outcome of all requests."""

    seed: int
    acknowledged: dict[str, str] = {}  # instance id -> service name
    times: dict[str, tuple[float, float]] = {}  # of the acknowledged: when it was sent, and when it was answered
    refused: dict[str, str] = {}  # with 503: instance id -> service name
    began_at: float = 0.0
    writes: int = 0
    lookups: int = 0
    heartbeats: int = 0
    failures: list[Failure] = []
    longest_write_s: float = 0.0
    longest_lookup_s: float = 0.0

    def failed(self, kind: str) -> list[Failure]:
        """Return the failures of one kind."""
        return [failure for failure in self.failures if failure.kind == kind]


def registration(number: int, service_name: str) -> dict[str, object]:
    """Return the body of one registration, with its own address."""
    host = f"10.{number // 62500 % 250}.{number // 250 % 250}.{number % 250 + 1}"
    return {"service_name": service_name, "instance_id": f"i{number}", "host": host, "port": 8034}


class Load:
    """Sends requests to one replica at a steady pace, whatever the answers."""

    def __init__(self, url: str, seed: int, session: aiohttp.ClientSession, first: int = 0) -> None:
        self.result = Result(seed, began_at=time.monotonic())
        self._first = first
        self._url = url
        self._session = session
        self._random = random.Random(seed)
        self._known: list[tuple[str, str]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, ended: asyncio.Event) -> None:
        """Run until `ended`, and then wait for pending requests."""
        paces = [
            asyncio.create_task(self._pace(1 / WRITES_PER_S, self._register)),
            asyncio.create_task(self._pace(1 / LOOKUPS_PER_S, self._look_up)),
            asyncio.create_task(self._pace(HEARTBEAT_EVERY_S, self._beat)),
        ]
        await ended.wait()
        for task in paces:
            task.cancel()
        await asyncio.gather(*paces, *self._running, return_exceptions=True)

    async def _pace(self, every_s: float, work: Callable[[], Awaitable[None]]) -> None:
        """Start `work` at fixed times, whether or not earlier runs have ended."""
        at = time.monotonic()
        while True:
            if len(self._running) < IN_FLIGHT:
                task = asyncio.ensure_future(work())
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            at += every_s
            await asyncio.sleep(max(0.0, at - time.monotonic()))

    async def _register(self) -> None:
        number = self._first + self.result.writes
        self.result.writes += 1
        name, instance = f"service_{self._random.randrange(SERVICES)}", f"i{number}"
        status, took_s = await self._ask("write", "POST", "/register", registration(number, name), good=201)
        self.result.longest_write_s = max(self.result.longest_write_s, took_s)
        if status == 201:
            self.result.acknowledged[instance] = name
            now = time.monotonic()
            self.result.times[instance] = (now - took_s, now)
            self._known.append((name, instance))
        elif status == 503:
            self.result.refused[instance] = name

    async def _look_up(self) -> None:
        if not self._known:
            return
        self.result.lookups += 1
        name, instance = self._random.choice(self._known)
        _, took_s = await self._ask("lookup", "GET", f"/services/{name}", holding=f'"{instance}"')
        self.result.longest_lookup_s = max(self.result.longest_lookup_s, took_s)

    async def _beat(self) -> None:
        beats = [
            {"service_name": name, "instance_id": instance}
            for name, instance in self._random.sample(self._known, min(100, len(self._known)))
        ]
        if beats:
            self.result.heartbeats += 1
            _, took_s = await self._ask("heartbeat", "POST", "/heartbeat", {"instances": beats}, lacking='"unknown"')
            self.result.longest_write_s = max(self.result.longest_write_s, took_s)

    async def _ask(
        self,
        kind: str,
        method: str,
        path: str,
        body: object = None,
        *,
        good: int = 200,
        holding: str = "",
        lacking: str = "",
    ) -> tuple[int, float]:
        began = time.monotonic()
        try:
            async with self._session.request(method, self._url + path, json=body) as response:
                text = await response.text()
                status, retry_after = response.status, response.headers.get("Retry-After", "")
        except (aiohttp.ClientError, OSError) as error:
            status, text, retry_after = 0, repr(error), ""
        took_s = time.monotonic() - began
        if status != good or holding not in text or (lacking and lacking in text):
            said = text if status != good else f"{holding} is missing" if holding not in text else f"{lacking} in it"
            self.result.failures.append(Failure(kind, began, took_s, status, said[:300], retry_after))
        return status, took_s


async def main(url: str, seed: int, file: Path, first: int) -> None:
    """Run the load until SIGTERM, and write its result."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        load = Load(url, seed, session, first)
        await load.run(ended)
    await asyncio.to_thread(file.write_bytes, msgspec.json.encode(load.result))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int((sys.argv[4:] or ["0"])[0])))
