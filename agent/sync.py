"""The watch client: keeps the view in step with the registry, for as long as the agent runs.

It opens the stream, hands its bytes to the reader and the changes to the view, and begins again where
it ended when the stream breaks: at the same replica or at the next. It never touches the catalogue.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
import structlog
from yarl import URL

from agent.acknowledging import Acknowledger
from agent.decisions import WATCH_RETRY_FIRST_S, watch_retry_s
from agent.registry_client import RegistryClient, Reply, Upstreams, headers_for
from agent.view import Advice, LossGuard, View
from agent.watch_reader import BrokenStream, Replaced, WatchReader
from registry_core.domain.cursor import Cursor
from registry_core.domain.selection import Random

# Three signs of life that did not come: the stream is dead, whatever TCP says.
SILENCE_S: Final = 15.0
# The shortest wait between two tries, once every address was tried, while old answers are asked for.
HURRIED_S: Final = 1.0
WATCHER_HEADER: Final = "X-Watcher"

_log = structlog.get_logger(component="agent.sync")


class StreamEnded(Exception):
    """Raised when a replica answers with something else than a stream, or ends it."""


class WatchSync:
    """Follows the registry into `view`. `reassert` is called when the registry lost its memory."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        upstreams: Upstreams,
        view: View,
        client: RegistryClient,
        *,
        reassert: Callable[[], None],
        random: Random,
        token: str = "",
        silence_s: float = SILENCE_S,
    ) -> None:
        self._session = session
        self._upstreams = upstreams
        self._view = view
        self._reassert = reassert
        self._random = random
        self._client = client
        self._headers = headers_for(token)
        self._timeout = aiohttp.ClientTimeout(total=None, connect=3.0, sock_connect=1.0, sock_read=silence_s)
        self._hurried = asyncio.Event()
        self._anew = False  # the next stream is to begin with everything
        self._guard: LossGuard | None = None  # as it was last spoken of
        self.connected_to: str | None = None
        self.resyncs = self.losses = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        failures = 0
        while True:
            url = self._upstreams.current
            try:
                await self._follow(url)
                failures, wait_s = 0, WATCH_RETRY_FIRST_S * self._random.random()
            except Exception as error:  # noqa: BLE001 - the top of the loop: the agent answers on, whatever it was
                failures = 1 if self.connected_to is not None else failures + 1
                self._note_loss(url, error, failures)
                self._upstreams.failed(url)
                wait_s = watch_retry_s(failures, self._random.random(), len(self._upstreams.urls))
            finally:
                self.connected_to = None
                self._view.lost()
            await self._pause(wait_s)

    def hurry(self) -> None:
        """Try again soon, since somebody asks for what has become old; it is no use while the watch is there."""
        self._hurried.set()

    async def _pause(self, wait_s: float) -> None:
        # Hurried or not, a registry that is away is not asked more often than that.
        least_s = min(wait_s, HURRIED_S * (0.5 + self._random.random() / 2))
        self._hurried.clear()
        await asyncio.sleep(least_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s - least_s):
                await self._hurried.wait()

    async def _follow(self, url: str) -> None:
        """Follow one stream; return when everything has to be read anew, and raise when it breaks."""
        cursor = Cursor() if self._anew else self._view.cursor
        query = "?renewals=1&acknowledges=1"
        query += f"&cursor={cursor}" if cursor.positions else ""
        async with self._session.get(
            URL(f"{url}/watch{query}", encoded=True),
            headers=self._headers,
            allow_redirects=False,
            timeout=self._timeout,
        ) as response:
            if response.status != 200:
                raise StreamEnded(f"HTTP {response.status}")
            self._view.opened(_time_of(response.headers.get("Date", "")))
            acknowledger = self._acknowledger(url, response.headers.get(WATCHER_HEADER, ""))
            acknowledging = asyncio.create_task(acknowledger.run())
            try:
                if await self._take(response, url, WatchReader(cursor, stage=self._view.staging), acknowledger):
                    return
            finally:
                acknowledging.cancel()
                await asyncio.wait([acknowledging])
        raise StreamEnded("the registry ended the stream")

    async def _take(
        self, response: aiohttp.ClientResponse, url: str, reader: WatchReader, acknowledger: Acknowledger
    ) -> bool:
        """Take what comes until the stream ends; return whether everything has to be read anew."""
        async for data in response.content.iter_any():
            for change in reader.feed(data):
                advice = self._view.apply(change)
                acknowledger.see(change)
                self._note_progress(url)
                self._note_guard()
                if isinstance(change, Replaced):
                    self._anew = False
                if advice is Advice.REASSERT:
                    self._reassert()
                elif advice is Advice.RESYNC:
                    self.resyncs += 1
                    self._anew = True
                    return True
        return False

    def _acknowledger(self, url: str, watcher: str) -> Acknowledger:
        async def send(cursor: Cursor) -> Reply:
            return await self._client.acknowledge(url, watcher, cursor)

        # An older registry gives no id, and nobody there waits.
        return Acknowledger(send, lambda: self._view.cursor, self._random, asked=bool(watcher))

    def _note_progress(self, url: str) -> None:
        if self.connected_to is None:
            self.connected_to = url
            view = self._view
            _log.info("watch_connected", registry=url, state=view.state, instances=len(view.catalog))

    def _note_guard(self) -> None:
        guard = self._view.loss_guard
        if guard is self._guard:
            return
        if guard is not None:
            _log.warning(
                "loss_guard_holds",
                because=f"the registry is {self._view.state} and its snapshot lacks {guard.missing} of {guard.known} "
                "known services: they stay until it knows everybody again",
            )
        else:
            _log.info("loss_guard_over", services=self._view.known)
        self._guard = guard

    def _note_loss(self, url: str, error: Exception, failures: int) -> None:
        self.losses += 1
        expected = isinstance(error, aiohttp.ClientError | OSError | TimeoutError | BrokenStream | StreamEnded)
        if not expected or (isinstance(error, BrokenStream) and self.connected_to is None):
            # What cannot be taken at this place is not going to be taken there the next time.
            self._anew = True
        if not expected:
            _log.error("watch_failed", registry=url, exc_info=error)
        elif failures == 1:
            # Said once: what follows is the same until it is connected again.
            _log.warning("watch_lost", registry=url, error=str(error) or type(error).__name__)


def _time_of(date: str) -> float | None:
    """Return the Unix time that a Date header tells (RFC 9110 section 6.6.1), or None."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
