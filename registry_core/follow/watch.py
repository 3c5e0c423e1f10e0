"""Follows the watch of one of the upstreams, for as long as the follower runs, and moves on when that one fails.

It opens the stream, passes the bytes to the reader and the changes to the view, and resumes at the last cursor. The
view decides what a change means, and `upstreams/` which registry is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import aiohttp
import structlog

from registry_core.api.hub import WatchHub
from registry_core.api.schemas import Problem
from registry_core.bodies import decoded
from registry_core.causes import cause_of
from registry_core.domain.backoff import Backoff, Jitter
from registry_core.domain.selection import Random
from registry_core.errors import VerticeError
from registry_core.follow.link import UpstreamLink
from registry_core.follow.view import FollowerView, Then
from registry_core.ports.clock import Clock
from registry_core.shortages import is_shortage
from registry_core.supervision import until_first
from registry_core.upstreams.choice import Trouble, Use
from registry_core.upstreams.probes import Silent, zone_in
from registry_core.upstreams.requests import MAX_ERROR_BYTES, RegistryAnswer
from registry_core.upstreams.retries import WATCH_RETRY_FIRST_S, watch_retry_s
from registry_core.watch.changes import PassedOver, Replaced, SentOn, UnknownEvent, WatchChange
from registry_core.watch.clock import time_of
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import (
    FIRST_PROTOCOL,
    PROTOCOL,
    PROTOCOL_HEADER,
    SILENCE_S,
    SYNC_EVERY_S,
    WATCHER_HEADER,
)
from registry_core.watch.packing import DEFLATE, PACKING_HEADER
from registry_core.watch.reader import BrokenPacking, BrokenStream, WatchReader

# After one missed sign of life the upstream is probed, if there is another one to move to.
DOUBT_S: Final = SYNC_EVERY_S + 0.5
# How often it is probed again while it answers probes but sends nothing.
DOUBT_AGAIN_S: Final = 1.0
# A stream that lasted this long was healthy: after its loss the first retry is not delayed.
STEADY_S: Final = 4 * SYNC_EVERY_S
# There are few followers, and each has many readers that wait for it.
RETRY: Final = Backoff(0.5, 2.0, jitter=Jitter.FULL)
# Everything is read again no sooner than this after it was read, however often the stream asks for it.
READ_ALL_EVERY_S: Final = 10.0
# Instances that leave memory in one turn, once they are no longer in view.
SHED_AT_ONCE: Final = 1000

_NAME: Final = re.compile(r"[A-Za-z]{1,40}", re.ASCII)

_log = structlog.get_logger(component="follow")


class FollowingEnded(VerticeError):
    """Raised when an upstream answers with something other than a watch, ends it, or has nothing to be followed for."""


class OtherUpstream(VerticeError):
    """Raised when another upstream is chosen: the stream is closed, but nothing has failed."""


class UpstreamStops(VerticeError):
    """Raised when an upstream says that it stops: the stream is to be resumed, and nothing has failed."""

    def __init__(self, within_s: float) -> None:
        super().__init__(within_s)
        self.within_s = within_s


class Watching(NamedTuple):
    """The stream that is read: of which upstream, and the id of its watcher there; "" when it wants no answers."""

    url: str
    watcher: str


class UpstreamWatch:
    """Follows one of the upstreams of `link` into `view`, and tells the readers of `hub` at once."""

    def __init__(
        self,
        link: UpstreamLink,
        view: FollowerView,
        hub: Callable[[], WatchHub],
        *,
        clock: Clock,
        random: Random,
        silence_s: float = SILENCE_S,
        doubt_s: float = DOUBT_S,
    ) -> None:
        self._link = link
        self._view = view
        self._hub = hub
        self._clock = clock
        self._random = random
        self._doubt_s = doubt_s
        self._timeout = aiohttp.ClientTimeout(total=None, connect=3.0, sock_connect=1.0, sock_read=silence_s)
        self._chosen_anew = asyncio.Event()
        link.upstreams.subscribe(self._chosen_anew.set)
        self._anew = False  # the next stream starts with a full snapshot
        self._takes_packed = True  # not after packed lines that something on the way has spoiled
        self._heard_at = self._told_at = clock.monotonic()
        # Sent with the request, beside the version of the protocol.
        self.headers: dict[str, str] = {}
        # Called before a stream is read: it may raise, and then nothing of it is read.
        self.opened: Callable[[str, aiohttp.ClientResponse], None] = lambda _url, _response: None
        # What runs beside a stream, for as long as it is read.
        self.beside: Callable[[str, aiohttp.ClientResponse], Coroutine[Any, Any, None] | None] = (
            lambda _url, _response: None
        )
        # Called with each change after it was applied.
        self.seen: list[Callable[[WatchChange], None]] = []
        self.watching: Watching | None = None
        self.protocol = 0
        self.problem = "it has not been asked yet"
        self.lost_at: float | None = clock.monotonic()
        self.resumed = self.losses = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        failures = 0
        while True:
            began = self._clock.monotonic()
            url = self._link.upstreams.current(Use.WATCH)
            assert url is not None  # a follower has at least one
            try:
                await self._follow(url)  # returned to read everything again
                failures, wait_s = 0, self._before_all_again(began)
            except OtherUpstream:
                failures, wait_s = 0, 0.0
            except UpstreamStops as stops:
                failures, wait_s = 0, stops.within_s * self._random.random()
                _log.info("upstream_stops", upstream=url, resumes_in_s=round(wait_s, 3))
                self._link.upstreams.stops(url)
            except Exception as error:  # noqa: BLE001 - the top of the loop: the follower answers on, whatever it was
                # A stream that breaks again and again counts as failing, even if it sent something in between.
                steady = self._clock.monotonic() - began >= STEADY_S
                failures = 1 if steady and self.watching is not None else failures + 1
                self._note_loss(url, error, failures)
                if not is_shortage(error):
                    self._link.upstreams.failed(url, Use.WATCH, _trouble(error), self.problem)
                wait_s = watch_retry_s(failures, self._random.random(), len(self._link.urls), RETRY)
            finally:
                self._ended()
            await asyncio.sleep(wait_s)

    def due_s(self) -> float:
        """Return in how many seconds the follower's own readers need a sign of life that no upstream has caused."""
        return self._told_at + DOUBT_S - self._clock.monotonic()

    def tell(self) -> None:
        """Send the follower's own readers a sign of life."""
        self._told_at = self._clock.monotonic()
        self._hub().tick()

    def tell_if_due(self) -> None:
        """Send them one if no upstream has caused one for too long."""
        if self.due_s() <= 0:
            self.tell()

    # -- one stream

    async def _follow(self, url: str) -> None:
        """Follow one stream; return when everything is to be read again, and raise when the stream ends."""
        cursor = Cursor() if self._anew else self._view.cursor
        # A registry of version 1 reports leases as renewals. One of version 2 ignores the parameter.
        query = "?renewals=1&acknowledges=1" + (f"&cursor={cursor}" if cursor.positions else "")
        began = self._heard_at = self._clock.monotonic()
        opening = self._open(url, f"/watch{query}")
        answer = await self._link.probes.patiently(url, Use.WATCH, opening, unwanted=lambda late: late.response.close())
        async with (response := answer.response):
            if response.status != HTTPStatus.OK:
                raise FollowingEnded(await _refusal(answer))
            self.opened(url, response)
            self.protocol = int(response.headers.get(PROTOCOL_HEADER, FIRST_PROTOCOL))
            self._view.opened(time_of(response.headers.get("Date", "")))
            latency_s = self._clock.monotonic() - began
            reader = WatchReader(cursor, stage=self._view.stage)
            work = [self._read(url, response, reader, latency_s), self._mind(url)]
            if (beside := self.beside(url, response)) is not None:
                work.append(beside)
            await until_first(*work)

    async def _open(self, url: str, target: str) -> RegistryAnswer:
        packing = {PACKING_HEADER: DEFLATE} if self._takes_packed else {}
        headers = {PROTOCOL_HEADER: str(PROTOCOL), **packing, **self.headers}
        return await self._link.requests.open("GET", url, target, headers=headers, within=self._timeout)

    async def _read(self, url: str, response: aiohttp.ClientResponse, reader: WatchReader, latency_s: float) -> None:
        """Apply changes until everything is to be read again. Raises when the stream ends or breaks."""
        is_first = True
        async for data in response.content.iter_any():
            self._heard_at = self._clock.monotonic()
            for change in reader.feed(data):
                if isinstance(change, SentOn):
                    # An address in it is not followed: a follower asks the registries that it was configured with.
                    raise UpstreamStops(change.within_s)
                self._refuse_nothing(change)
                then = self._view.take(change)
                for seen in self.seen:
                    seen(change)
                if is_first:
                    is_first = False
                    self._began(url, response, latency_s, resumed=not isinstance(change, Replaced))
                if isinstance(change, Replaced):
                    self._anew, self._takes_packed = False, True
                    await self._shed()
                if isinstance(change, UnknownEvent | PassedOver):
                    _log.error("upstream_not_readable", upstream=url, problem=change.problem)
                if then is Then.TELL:
                    self.tell()
                elif then is Then.READ_ALL:
                    self._anew = True
                    return
        raise FollowingEnded("it ended the stream")

    def _refuse_nothing(self, change: WatchChange) -> None:
        """Raise FollowingEnded when a registry sends nothing because it has not read its own store."""
        if isinstance(change, Replaced) and self._view.loaded and not change.cursor.positions:
            raise FollowingEnded("it has not read its own store yet")

    async def _shed(self) -> None:
        """Free what is no longer in view, with turns for others in between."""
        stale = self._view.stale
        while len(stale):
            stale.shed(SHED_AT_ONCE)
            await asyncio.sleep(0)

    async def _mind(self, url: str) -> None:
        """Raise OtherUpstream when another one is chosen, and Silent when this one no longer answers."""
        upstreams, wait_s = self._link.upstreams, self._doubt_s
        while True:
            self._chosen_anew.clear()
            if upstreams.current(Use.WATCH) != url:
                raise OtherUpstream
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._chosen_anew.wait()
            silent_s = self._clock.monotonic() - self._heard_at
            wait_s = min(self._doubt_s, max(self._doubt_s - silent_s, DOUBT_AGAIN_S))
            in_doubt = silent_s >= self._doubt_s and upstreams.has_other(url, Use.WATCH)
            if in_doubt and not await self._link.probes.lives(url):
                raise Silent("it sends nothing and does not answer a probe")

    # -- what is known of the stream

    def _began(self, url: str, response: aiohttp.ClientResponse, latency_s: float, *, resumed: bool) -> None:
        self.watching = Watching(url, response.headers.get(WATCHER_HEADER, ""))
        self.problem, self.lost_at = "", None
        self.resumed += resumed
        self._link.upstreams.answered(url, Use.WATCH, latency_s, zone_in(response))
        view = self._view
        _log.info(
            "upstream_followed",
            upstream=url,
            state=view.trust.state,
            instances=len(view.catalog),
            resumed=resumed,
            protocol=self.protocol,
        )

    def _ended(self) -> None:
        self.watching = None
        if self.lost_at is None:
            self.lost_at = self._clock.monotonic()
        self._view.lost()

    def _before_all_again(self, began: float) -> float:
        least_s = began + READ_ALL_EVERY_S - self._clock.monotonic()
        return max(least_s, 0.0) + WATCH_RETRY_FIRST_S * self._random.random()

    def _note_loss(self, url: str, error: Exception, failures: int) -> None:
        self.losses += 1
        expected = isinstance(error, aiohttp.ClientError | OSError | TimeoutError | VerticeError | Silent)
        self.problem = _in_words(error)
        if isinstance(error, BrokenPacking):
            self._takes_packed = False
        if not expected or (isinstance(error, BrokenStream) and self.watching is None):
            # A snapshot or event that failed here would fail at the same cursor again.
            self._anew = True
        if not expected:
            _log.error("upstream_watch_failed", upstream=url, exc_info=error)
        elif failures == 1:
            # Logged once, until it is followed again.
            _log.warning("upstream_lost", upstream=url, because=self.problem)


async def _refusal(answer: RegistryAnswer) -> str:
    """Return what an upstream answered instead of a watch: the status, and the name of the error where it has one."""
    problem = decoded(await answer.read(MAX_ERROR_BYTES) or b"", Problem)
    named = problem.error if problem is not None and _NAME.fullmatch(problem.error) else ""
    return f"HTTP {answer.response.status} {named}".strip()


def _in_words(error: Exception) -> str:
    """Return why a stream was lost; our own errors say it themselves."""
    return error.args[0] if isinstance(error, VerticeError | Silent) and error.args else cause_of(error)


def _trouble(error: Exception) -> Trouble:
    """Return whether the registry is unusable for writes too."""
    silent = isinstance(error, Silent | aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
    return Trouble.SILENT if silent else Trouble.REFUSING
