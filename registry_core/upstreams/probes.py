"""Probes the registries: whether each one is alive, its latency, and its zone.

Probes are rare, except when a request waits for one. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import aiohttp

from registry_core.api.schemas import ZONE_HEADER
from registry_core.domain.backoff import Backoff
from registry_core.domain.selection import Random
from registry_core.ports.clock import Clock
from registry_core.shortages import is_shortage
from registry_core.upstreams.choice import Use, spread
from registry_core.upstreams.pool import Upstreams
from registry_core.upstreams.requests import RegistryRequests

MAX_ZONE: Final = 64
# A registry that is silent for this long is probed, and left if it does not answer: within one second in all. A
# write may wait longer than this for the store of a live replica.
PATIENCE_S: Final = 0.45
PROBE_S: Final = 0.45
# An answer is valid this long for other requests that wait for the same registry.
FRESH_S: Final = 0.4
# The interval of regular probes, two requests each: with 10,000 agents a replica gets about 330 requests/s.
WELL_EVERY_S: Final = 60.0
AWAY: Final = Backoff(5.0, 30.0)
FIRST_WITHIN_S: Final = 2.0
AT_ONCE: Final = 4
LIMIT_S: Final = 3.0
_TURN_S: Final = 1.0

T = TypeVar("T")


class Silent(Exception):
    """Raised when a registry answers neither a request nor a probe."""


class RegistryProbes:
    """Probes the registries of `upstreams`."""

    def __init__(self, requests: RegistryRequests, upstreams: Upstreams, clock: Clock, random: Random) -> None:
        self._requests = requests
        self._upstreams = upstreams
        self._clock = clock
        self._random = random
        self._alive_at: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[bool]] = {}
        self._due: dict[str, float] = {}
        self._missed: dict[str, int] = {}
        self.asked = 0

    async def patiently(
        self, url: str, use: Use, work: Coroutine[Any, Any, T], *, unwanted: Callable[[T], None] = lambda _: None
    ) -> T:
        """Return the result of `work`, a request to `url`.

        A result that comes when nobody waits for it any more goes to `unwanted`, which gives its connection back.
        Raises Silent when `url` is silent for PATIENCE_S, does not answer a probe, and there is another registry.
        """
        task, is_wanted = asyncio.ensure_future(work), False
        try:
            while True:
                done, _ = await asyncio.wait((task,), timeout=PATIENCE_S)
                if done:
                    is_wanted = True
                    return task.result()
                if self._upstreams.has_other(url, use) and not await self.lives(url) and not task.done():
                    raise Silent(f"{url} does not answer")
        finally:
            if not is_wanted:
                task.cancel()  # it may have ended in this very turn of the loop
                await asyncio.gather(task, return_exceptions=True)
                if not task.cancelled() and task.exception() is None:
                    unwanted(task.result())

    async def lives(self, url: str) -> bool:
        """Return whether `url` answers now, in at most PROBE_S."""
        if self._clock.monotonic() - self._alive_at.get(url, -FRESH_S) < FRESH_S:
            return True
        asking = self._asking.get(url)
        if asking is None:
            asking = self._asking[url] = asyncio.ensure_future(self._answers(url, PROBE_S))
            asking.add_done_callback(lambda _: self._asking.pop(url, None))
        return await asyncio.shield(asking)

    async def run(self) -> None:
        """Probe each registry regularly, until cancelled."""
        while True:
            await self._ask_those_due()
            await asyncio.sleep(_TURN_S)

    async def close(self) -> None:
        """Cancel the probes under way."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask_those_due(self) -> None:
        now, urls = self._clock.monotonic(), self._upstreams.urls
        for kept in (self._due, self._missed, self._alive_at):
            for gone in kept.keys() - set(urls):
                del kept[gone]
        for url in urls:
            self._due.setdefault(url, now + FIRST_WITHIN_S * self._random.random())
        if len(urls) < 2:
            return  # there is no choice to make
        due = sorted((url for url in urls if self._due[url] <= now), key=self._due.__getitem__)[:AT_ONCE]
        await asyncio.gather(*map(self._probe, due))

    async def _probe(self, url: str) -> None:
        reached = await self._answers(url, LIMIT_S if self._upstreams.is_reachable(url) else PROBE_S)
        if reached:
            # The first request may wait for a connection; the second one measures the latency.
            await self._answers(url, LIMIT_S, measured=True)
            self._missed[url] = 0
            wait_s = WELL_EVERY_S
        else:
            self._upstreams.not_reached(url)
            missed = self._missed[url] = self._missed.get(url, 0) + 1
            wait_s = AWAY.wait_s(missed)
        self._due[url] = self._clock.monotonic() + spread(wait_s, self._random.random())

    async def _answers(self, url: str, within_s: float, *, measured: bool = False) -> bool:
        """Probe `url`; any answer means that it is alive, except a proxy's answer that it is not.

        A probe that could not be sent for lack of a descriptor or memory counts as an answer.
        """
        self.asked += 1
        began = self._clock.monotonic()
        try:
            timeout = aiohttp.ClientTimeout(total=within_s)
            answer = await self._requests.open("GET", url, "/live", within=timeout)
            async with answer.response as response:
                if response.status < 500:
                    now = self._alive_at[url] = self._clock.monotonic()
                    self._upstreams.probed(url, now - began if measured else None, zone_in(response))
                    return True
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            # Without a free descriptor nothing is known against it.
            return is_shortage(error)
        return False


def zone_in(response: aiohttp.ClientResponse) -> str:
    """Return the zone that an answer names; empty if none."""
    return response.headers.get(ZONE_HEADER, "")[:MAX_ZONE]
