"""A steady load on a registry, in its own process: `python -m tests.scenarios.registry_load URL`.

It takes the secret from REGISTRY_SECRET and the authorities from REGISTRY_CA, and sends a request again only after a
503, as agents do. On SIGTERM it prints one line of JSON: how many requests of each kind were answered with success, how
many were put off by a 503, what went wrong, and the longest answer in seconds.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import ssl
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

WORKERS = 3
PAUSE_S = 0.02
TIMEOUT_S = 10.0
INSTANCES = 50
AGAIN_S = 0.2
GIVES_UP_S = 10.0


class Load:
    """The requests, and what became of them."""

    def __init__(self, session: aiohttp.ClientSession, url: str, done: asyncio.Event) -> None:
        self.session = session
        self.url = url
        self.done = done
        self.answered: Counter[str] = Counter()
        self.failed: list[str] = []
        self.longest_s = 0.0
        self.put_off = 0
        self._numbers = itertools.count()

    async def one(self, kind: str, method: str, path: str, **more: Any) -> None:
        began = time.monotonic()
        while (failure := await self._tried(method, path, **more)).startswith("503"):
            if time.monotonic() - began > GIVES_UP_S:
                break
            self.put_off += 1
            await asyncio.sleep(AGAIN_S)
        if failure:
            self.failed.append(f"{kind}: {failure}")
        else:
            self.answered[kind] += 1
        self.longest_s = max(self.longest_s, time.monotonic() - began)

    async def _tried(self, method: str, path: str, **more: Any) -> str:
        """Send a request once, and return what went wrong; nothing when it was carried out."""
        try:
            async with self.session.request(method, f"{self.url}{path}", **more) as response:
                text = await response.text()
                return "" if response.status in (200, 201) else f"{response.status} {text[:150]}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return f"{type(error).__name__} {error}"

    async def register(self) -> None:
        number = next(self._numbers) % INSTANCES
        body = {"service_name": f"load{number}", "host": f"10.9.0.{number + 1}", "port": 8034, "instance_id": "one"}
        await self.one("register", "POST", "/register", json=body)

    async def renew(self) -> None:
        beats = [{"service_name": f"load{number}", "instance_id": "one"} for number in range(INSTANCES)]
        await self.one("heartbeat", "POST", "/heartbeat", json={"instances": beats})

    async def look_up(self) -> None:
        await self.one("service", "GET", f"/services/load{next(self._numbers) % INSTANCES}")
        await self.one("services", "GET", "/services")

    async def report(self) -> None:
        await self.one("status", "PUT", "/status/load1/one", json={"status": "passing"})

    async def forever(self, work: Callable[[], Awaitable[None]]) -> None:
        while not self.done.is_set():
            await work()
            await asyncio.sleep(PAUSE_S)


async def load(url: str) -> None:
    done = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, done.set)
    headers = {"X-Registry-Token": os.environ["REGISTRY_SECRET"]}
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=os.environ["REGISTRY_CA"]))
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout) as session:
        run = Load(session, url, done)
        for _ in range(INSTANCES):
            await run.register()
        sys.stderr.write("loading\n")
        await asyncio.gather(
            *(run.forever(work) for work in (run.register, run.renew, run.report)),
            *(run.forever(run.look_up) for _ in range(WORKERS)),
        )
    result = {
        "answered": run.answered,
        "put_off": run.put_off,
        "failed": run.failed[:20],
        "longest_s": round(run.longest_s, 3),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    asyncio.run(load(sys.argv[1]))
