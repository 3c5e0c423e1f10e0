"""The watch client: keeps the view in step with the registry, for as long as the agent runs.

It opens the stream, passes the bytes to the reader and the changes to the view, and resumes at the last cursor
when the stream breaks or another registry is chosen. It never touches the catalogue, and does not choose the
registry.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

import aiohttp
import structlog

from agent.registries.client import RegistryClient, RegistryReply
from agent.usage.reporter import Reporter
from agent.view.acknowledge import Acknowledger
from agent.view.cache import LossGuard
from agent.view.view import AgentView
from registry_core.causes import cause_of
from registry_core.domain.selection import Random
from registry_core.ports.clock import Clock
from registry_core.shortages import is_shortage
from registry_core.supervision import until_first
from registry_core.upstreams.choice import Trouble, Use
from registry_core.upstreams.pool import Upstreams
from registry_core.upstreams.probes import RegistryProbes, Silent, zone_in
from registry_core.upstreams.requests import RegistryRequests
from registry_core.upstreams.retries import WATCH_RETRY_FIRST_S, watch_retry_s
from registry_core.usage.limits import REPORT_EVERY_HEADER
from registry_core.watch.changes import PassedOver, Replaced, SentOn, UnknownEvent
from registry_core.watch.clock import time_of
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import (
    ACK_EVERY_HEADER,
    LEAST_ACK_EVERY_S,
    MOST_ACK_EVERY_S,
    PROTOCOL,
    PROTOCOL_HEADER,
    SILENCE_S,
    SYNC_EVERY_S,
    WATCHER_HEADER,
)
from registry_core.watch.packing import DEFLATE, PACKING_HEADER
from registry_core.watch.reader import BrokenPacking, BrokenStream, WatchReader
from registry_core.watch.trust import Advice

# The shortest wait between two tries, once every address was tried, while lookups get stale answers.
HURRIED_S: Final = 1.0
# After one missed keepalive the registry is probed, if there is another one to move to.
DOUBT_S: Final = SYNC_EVERY_S + 0.5
# How often it is probed again while it answers probes but sends nothing.
DOUBT_AGAIN_S: Final = 1.0
# The wait while no address is known.
NOBODY_S: Final = 0.5

_VERSION: Final = {PROTOCOL_HEADER: str(PROTOCOL)}
_VERSION_PACKED: Final = {**_VERSION, PACKING_HEADER: DEFLATE}
# A stream that lasted this long was healthy: after its loss the first retry is not delayed.
STEADY_S: Final = 4 * SYNC_EVERY_S
_SECONDS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?", re.ASCII)
# The longest wait that a registry can ask for.
MOST_RETRY_AFTER_S: Final = 60.0
# Unreadable lines are logged again after this time.
SAY_AGAIN_S: Final = 60.0

_log = structlog.get_logger(component="agent.sync")


class StreamEnded(Exception):
    """Raised when a replica answers with something other than a stream, or ends it.

    `retry_after_s` is the earliest time at which it takes the request, as far as it said; else 0.
    """

    def __init__(self, said: str, retry_after_s: float = 0.0) -> None:
        super().__init__(said)
        self.retry_after_s = retry_after_s


class UpstreamChanged(Exception):
    """Raised when another registry is chosen: the stream is closed, but nothing has failed."""


class RegistryStops(Exception):
    """Raised when the registry says that it stops: the stream is to be resumed, and nothing has failed."""

    def __init__(self, within_s: float) -> None:
        super().__init__(within_s)
        self.within_s = within_s


class WatchSync:
    """Follows the registry into `view`.

    `reassert` is called when the registry has lost its data, `connected` when a new stream has begun.
    """

    def __init__(
        self,
        requests: RegistryRequests,
        upstreams: Upstreams,
        probes: RegistryProbes,
        view: AgentView,
        client: RegistryClient,
        *,
        reassert: Callable[[], None],
        connected: Callable[[], None] = lambda: None,
        clock: Clock,
        random: Random,
        silence_s: float = SILENCE_S,
        doubt_s: float = DOUBT_S,
        reporter: Reporter | None = None,
    ) -> None:
        self._requests = requests
        self._upstreams = upstreams
        self._probes = probes
        self._view = view
        self._reassert = reassert
        self._connected = connected
        self._clock = clock
        self._random = random
        self._client = client
        self._reporter = reporter
        self._timeout = aiohttp.ClientTimeout(total=None, connect=3.0, sock_connect=1.0, sock_read=silence_s)
        self._hurried = asyncio.Event()
        self._doubt_s = doubt_s
        self._heard_at = 0.0
        self._chosen_anew = asyncio.Event()
        upstreams.subscribe(self._chosen_anew.set)
        self._anew = False  # the next stream starts with a full snapshot
        self._takes_packed = True  # not after packed lines that something on the way has spoiled
        self._guard: LossGuard | None = None  # as last logged
        self._say_again_at = -math.inf
        self.connected_to: str | None = None
        self.resyncs = self.losses = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        failures = 0
        while True:
            began = self._clock.monotonic()
            url = self._upstreams.current(Use.WATCH)
            if url is None:
                await asyncio.sleep(NOBODY_S)
                continue
            try:
                await self._follow(url)  # returned for a full resync
                failures, wait_s = 0, WATCH_RETRY_FIRST_S * self._random.random()
            except UpstreamChanged:
                failures, wait_s = 0, 0.0
            except RegistryStops as stops:
                failures, wait_s = 0, stops.within_s * self._random.random()
                _log.info("registry_stops", registry=url, resumes_in_s=round(wait_s, 3))
                self._upstreams.stops(url)
            except Exception as error:  # noqa: BLE001 - the top of the loop: the agent answers on, whatever it was
                # A stream that breaks again and again counts as failing, even if it sent something in between.
                steady = self._clock.monotonic() - began >= STEADY_S
                failures = 1 if steady and self.connected_to is not None else failures + 1
                self._note_loss(url, error, failures)
                if not is_shortage(error):
                    self._upstreams.failed(url, Use.WATCH, _trouble(error), cause_of(error))
                registries = max(1, len(self._upstreams.urls))
                wait_s = watch_retry_s(failures, self._random.random(), registries)
                if isinstance(error, StreamEnded) and error.retry_after_s and failures >= registries:
                    # It has many readers to serve first. Its whole seconds are spread here once more.
                    wait_s = max(wait_s, error.retry_after_s + self._random.random())
            finally:
                self.connected_to = None
                self._view.lost()
            await self._pause(wait_s)

    def hurry(self) -> None:
        """Retry soon, because a lookup got a stale answer. Does nothing while the watch is up."""
        self._hurried.set()

    async def _pause(self, wait_s: float) -> None:
        # Hurried or not, a registry that is down is not asked more often than this.
        least_s = min(wait_s, HURRIED_S * (0.5 + self._random.random() / 2))
        self._hurried.clear()
        await asyncio.sleep(least_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s - least_s):
                await self._hurried.wait()

    async def _follow(self, url: str) -> None:
        """Follow one stream; return when a full resync is needed, and raise when the stream ends."""
        cursor = Cursor() if self._anew else self._view.cursor
        # A registry of version 1 reports leases as renewals. One of version 2 ignores the parameter.
        query = "?renewals=1&acknowledges=1"
        query += f"&cursor={cursor}" if cursor.positions else ""
        began = self._heard_at = self._clock.monotonic()
        opening = self._open(url, f"/watch{query}")
        response = await self._probes.patiently(url, Use.WATCH, opening, unwanted=aiohttp.ClientResponse.close)
        async with response:
            if response.status != 200:
                raise StreamEnded(f"HTTP {response.status}", _retry_after_s(response))
            self._view.opened(time_of(response.headers.get("Date", "")))
            latency_s = self._clock.monotonic() - began
            acknowledger = self._acknowledger(url, response.headers)
            reader = WatchReader(cursor, stage=self._view.staging)
            reading = self._read(url, response, reader, acknowledger, latency_s)
            work = [reading, self._mind(url), acknowledger.run()]
            if (reports := self._reports(url, response)) is not None:
                work.append(reports)
            await until_first(*work)

    async def _open(self, url: str, target: str) -> aiohttp.ClientResponse:
        headers = _VERSION_PACKED if self._takes_packed else _VERSION
        answer = await self._requests.open("GET", url, target, headers=headers, within=self._timeout)
        return answer.response

    async def _read(
        self,
        url: str,
        response: aiohttp.ClientResponse,
        reader: WatchReader,
        acknowledger: Acknowledger,
        latency_s: float,
    ) -> None:
        """Apply changes until a full resync is needed. Raises when the stream ends or breaks."""
        async for data in response.content.iter_any():
            self._heard_at = self._clock.monotonic()
            for change in reader.feed(data):
                if isinstance(change, SentOn):
                    # An address in it is not followed: an agent asks the registries that it was configured with.
                    raise RegistryStops(change.within_s)
                advice = self._view.apply(change)
                acknowledger.see(change)
                if isinstance(change, UnknownEvent | PassedOver):
                    self._note_passed_over(url, change.problem)
                if self.connected_to is None:
                    self._upstreams.answered(url, Use.WATCH, latency_s, zone_in(response))
                    self._note_progress(url)
                self._note_guard()
                if isinstance(change, Replaced):
                    self._anew, self._takes_packed = False, True
                if advice is Advice.REASSERT:
                    self._reassert()
                elif advice is Advice.RESYNC:
                    self.resyncs += 1
                    self._anew = True
                    return
        raise StreamEnded("the registry ended the stream")

    def _acknowledger(self, url: str, headers: Mapping[str, str]) -> Acknowledger:
        watcher, pace = headers.get(WATCHER_HEADER, ""), headers.get(ACK_EVERY_HEADER, "")

        async def send(cursor: Cursor) -> RegistryReply:
            return await self._client.acknowledge(url, watcher, cursor)

        # An older registry sends no id and does not wait for acknowledgements.
        view = self._view
        return Acknowledger(
            send,
            lambda: view.cursor,
            self._random,
            clock=self._clock,
            tick=view.tick,
            drain_srv_s=lambda: view.draining.shown_s,
            asked=bool(watcher),
            pace_s=min(float(pace), MOST_ACK_EVERY_S) if _SECONDS.fullmatch(pace) else LEAST_ACK_EVERY_S,
        )

    def _reports(self, url: str, response: aiohttp.ClientResponse) -> Coroutine[Any, Any, None] | None:
        """Return what reports to this replica; None when it does not ask for reports."""
        watcher, every = response.headers.get(WATCHER_HEADER, ""), response.headers.get(REPORT_EVERY_HEADER, "")
        if self._reporter is None or not watcher or not _SECONDS.fullmatch(every):
            return None
        return self._reporter.report_to(partial(self._client.report, url, watcher), float(every))

    async def _mind(self, url: str) -> None:
        """Raise UpstreamChanged when another registry is chosen, and Silent when this one no longer answers."""
        wait_s = self._doubt_s
        while True:
            self._chosen_anew.clear()
            if self._upstreams.current(Use.WATCH) != url:
                raise UpstreamChanged
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._chosen_anew.wait()
            silent_s = self._clock.monotonic() - self._heard_at
            wait_s = min(self._doubt_s, max(self._doubt_s - silent_s, DOUBT_AGAIN_S))
            in_doubt = silent_s >= self._doubt_s and self._upstreams.has_other(url, Use.WATCH)
            if in_doubt and not await self._probes.lives(url):
                raise Silent("it sends nothing and does not answer a probe")

    def _note_progress(self, url: str) -> None:
        self.connected_to = url
        view = self._view
        _log.info("watch_connected", registry=url, state=view.trust.state, instances=len(view.catalog))
        self._connected()

    def _note_guard(self) -> None:
        guard = self._view.loss_guard
        if guard is self._guard:
            return
        if guard is not None:
            _log.warning(
                "loss_guard_holds",
                because=f"the registry is {self._view.trust.state} and its snapshot lacks {guard.missing} "
                f"of {guard.known} known services: they stay until it is ready",
            )
        else:
            _log.info("loss_guard_over", services=self._view.known)
        self._guard = guard

    def _note_passed_over(self, url: str, problem: str) -> None:
        now = self._clock.monotonic()
        if now >= self._say_again_at:
            self._say_again_at = now + SAY_AGAIN_S
            _log.error("watch_not_readable", registry=url, problem=problem, passed_over=self._view.passed_over)

    def _note_loss(self, url: str, error: Exception, failures: int) -> None:
        self.losses += 1
        if isinstance(error, BrokenPacking):
            self._takes_packed = False
        expected = isinstance(error, aiohttp.ClientError | OSError | TimeoutError | BrokenStream | StreamEnded | Silent)
        if not expected or (isinstance(error, BrokenStream) and self.connected_to is None):
            # A snapshot or event that failed here would fail at the same cursor again.
            self._anew = True
        if not expected:
            _log.error("watch_failed", registry=url, exc_info=error)
        elif failures == 1:
            # Logged once, until it is connected again.
            _log.warning("watch_lost", registry=url, error=cause_of(error))


def _retry_after_s(response: aiohttp.ClientResponse) -> float:
    """Return the seconds of Retry-After, bounded; 0 without one (RFC 9110 section 10.2.3; a registry sends no date)."""
    told = response.headers.get("Retry-After", "")
    return min(float(told), MOST_RETRY_AFTER_S) if _SECONDS.fullmatch(told) else 0.0


def _trouble(error: Exception) -> Trouble:
    """Return whether the registry is unusable for writes too."""
    silent = isinstance(error, Silent | aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    return Trouble.SILENT if silent else Trouble.REFUSING
