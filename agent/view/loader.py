"""Reads services that the view knows but does not hold, when they are looked up.

Concurrent lookups of a service share one read and wait a second at most; other lookups do not wait. It asks the replica
whose events the view follows, whose answer is rarely older than the view. An older one is rejected.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial
from typing import Final

import aiohttp
import structlog

from agent.view.view import AgentView
from registry_core.causes import cause_of
from registry_core.domain.freshness import Refresh, decide
from registry_core.supervision import Background, end
from registry_core.telemetry.spans import traced
from registry_core.upstreams.requests import RegistryRequests
from registry_core.watch.changes import Replaced
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import PROTOCOL, PROTOCOL_HEADER
from registry_core.watch.reader import BrokenStream, WatchReader
from registry_core.watch.trust import READY

# How long a lookup waits; the read itself may take longer, and serves the next lookup.
WAIT_S: Final = 1.0
LOAD_S: Final = 5.0
# Leaves connections to the registry for heartbeats.
AT_ONCE: Final = 8
MAX_LOADS: Final = 256
MAX_WAITING: Final = 2000
# The view may have advanced or been replaced while a service was read.
TRIES: Final = 3
RETRY_S: Final = 0.05
_TIMEOUT: Final = aiohttp.ClientTimeout(total=LOAD_S)
_VERSION: Final = {PROTOCOL_HEADER: str(PROTOCOL)}

_log = structlog.get_logger(component="agent.loader")


class TooLarge(Exception):
    """Raised when a service is larger than the view's limit."""


class ServiceLoader:
    """Loads services into `view`. `registry` returns the registry's URL, or None when none can be asked now."""

    def __init__(
        self,
        requests: RegistryRequests,
        view: AgentView,
        *,
        registry: Callable[[], str | None],
        background: Background,
    ) -> None:
        self._requests = requests
        self._view = view
        self._registry = registry
        self._background = background
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._waiters = 0
        self.loads = self.failures = self.refusals = 0

    async def close(self) -> None:
        """Stop all reads and wake everything that waits for them. Safe to call twice."""
        await end(tuple(self._loads.values()))

    def fetch(self, label: str) -> asyncio.Future[None] | None:
        """Begin to read a service, or join its read; return a future that is done after the read or after WAIT_S.

        Returns None when no registry can be asked or too many reads are under way.
        """
        if label not in self._loads and not self.begin(label):
            return None
        if self._waiters >= MAX_WAITING:
            self.refusals += 1
            return None
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(WAIT_S, _settle, waiter)
        self._waiters += 1
        self._waiting.setdefault(label, []).append(waiter)
        waiter.add_done_callback(lambda _: self._waited(timer))
        return waiter

    def begin(self, label: str) -> bool:
        """Begin to read a service without waiting for it. Return False if that is not possible now."""
        # A service that is not held cannot be served stale: it must be read first, if possible.
        if decide(math.inf, self._registry() is not None).refresh is not Refresh.FIRST:
            return False
        if len(self._loads) >= MAX_LOADS:
            self.refusals += 1
            return False
        task = self._background.begin("load service", partial(self._load, label))
        self._loads[label] = task
        task.add_done_callback(lambda _: self._ended(label))
        return True

    def begin_anew(self, label: str) -> bool:
        """Begin to read a held service again, after an event of an unknown kind.

        If it is being read already, the view rejects that result, and it is read once more.
        """
        return label in self._loads or self.begin(label)

    @traced("agent.load")
    async def _load(self, label: str) -> None:
        try:
            async with asyncio.timeout(LOAD_S), self._turns:
                for _ in range(TRIES):
                    if await self._read(label):
                        self.loads += 1
                        return
                    await asyncio.sleep(RETRY_S)
            self._failed(label, "it changes faster than it can be read")
        except (aiohttp.ClientError, OSError, TimeoutError, BrokenStream, TooLarge) as error:
            self._failed(label, cause_of(error))

    def _failed(self, label: str, because: str) -> None:
        self.failures += 1
        _log.debug("service_not_read", service=label, because=because)

    async def _read(self, label: str) -> bool:
        """Read a service into the view; return whether the view accepted it. Raises when it cannot be read."""
        url = self._registry()
        if url is None:
            raise ConnectionError("the registry cannot be asked now")
        self._view.expect(label)
        try:
            everything = await self._ask(url, label)
            if everything.state != READY and not everything.instances:
                raise ConnectionError("the registry is still warming up")
            return self._view.take(label, everything)
        finally:
            self._view.give_up(label)

    async def _ask(self, url: str, label: str) -> Replaced:
        answer = await self._requests.open(
            "GET", url, f"/watch?once=1&service={label}", headers=_VERSION, within=_TIMEOUT
        )
        async with answer.response as response:
            if response.status != 200:
                raise ConnectionError(f"HTTP {response.status}")
            reader = WatchReader(Cursor(), part=True)
            size = 0
            found = None
            async for data in response.content.iter_any():
                size += len(data)
                if size > self._view.limits.bytes:
                    response.close()
                    raise TooLarge(f"it has more than {self._view.limits.bytes} bytes")
                found = found or next((c for c in reader.feed(data) if isinstance(c, Replaced)), None)
        if found is None:
            raise ConnectionError("the registry ended the stream early")
        if not found.whole:
            raise ConnectionError("part of the answer cannot be read")
        return found

    def _waited(self, timer: asyncio.TimerHandle) -> None:
        self._waiters -= 1
        timer.cancel()

    def _ended(self, label: str) -> None:
        del self._loads[label]
        for waiter in self._waiting.pop(label, ()):
            _settle(waiter)


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
