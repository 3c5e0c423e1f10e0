"""Sends the spans that wait to a collector: OTLP over HTTP, as protobuf (https://opentelemetry.io/docs/specs/otlp/).

One batch at a time, in the background. A collector that is away costs the spans that do not fit into the queue, one log
line now and then, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Final

import aiohttp
import structlog
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan

from registry_core.blocking import NoThread, Threads
from registry_core.causes import cause_of
from registry_core.ports.clock import Clock
from registry_core.resolution import ServerResolver
from registry_core.telemetry.log_thinning import Thinning
from registry_core.telemetry.otel import BATCH, SpanQueue
from registry_core.telemetry.trace_settings import TraceSettings

ENCODE_S: Final = 5.0
# What the protocol says may succeed later; anything else is lost.
RETRIED: Final = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
RETRIES_S: Final = (1.0, 5.0)
# At the end of the program.
LAST_S: Final = 1.0

_log = structlog.get_logger(component="telemetry")


class NotTaken(Exception):
    """Raised when a collector refuses spans; `again` when it may take them later."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the collector answers with the HTTP status {status}")
        self.again = status in RETRIED


class SpanExport:
    """Empties `queue`."""

    def __init__(self, settings: TraceSettings, queue: SpanQueue, clock: Clock) -> None:
        self._settings = settings
        self._queue = queue
        self._clock = clock
        self._threads = Threads("encode spans", 2)
        self._thinning = Thinning()
        self._dropped = 0  # as far as it was logged
        self._session: aiohttp.ClientSession | None = None
        self.sent = self.lost = 0

    async def run(self) -> None:
        """Send what waits, until cancelled."""
        while True:
            await self._due()
            while len(self._queue):
                await self._send(self._queue.take(BATCH), RETRIES_S)

    async def close(self) -> None:
        """Send what waits, for LAST_S at most, and stop. Safe to call twice."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_S):
                    while len(self._queue):
                        await self._send(self._queue.take(BATCH), ())
        finally:
            if self._session is not None:
                await self._session.close()

    async def _due(self) -> None:
        """Return when it is time to send, or when a batch is full."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.every_s):
                await self._queue.has_batch.wait()

    async def _send(self, spans: Sequence[ReadableSpan], waits_s: Sequence[float]) -> None:
        try:
            body = await self._threads.run(partial(_encoded, spans, zipped=self._settings.gzip), timeout_s=ENCODE_S)
            for wait_s in (*waits_s, None):
                try:
                    await self._post(body)
                except (NotTaken, aiohttp.ClientError, OSError) as error:
                    if wait_s is None or (isinstance(error, NotTaken) and not error.again):
                        raise
                    await asyncio.sleep(wait_s)
                else:
                    self.sent += len(spans)
                    self._succeeded()
                    return
        except (NotTaken, aiohttp.ClientError, OSError, NoThread) as error:  # also a timeout
            self.lost += len(spans)
            self._failed(cause_of(error))

    async def _post(self, body: bytes) -> None:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s)
            tls = ssl.create_default_context(cafile=self._settings.certificate or None) if self._is_tls else False
            self._session = aiohttp.ClientSession(
                timeout=timeout,
                connector=aiohttp.TCPConnector(limit=1, ssl=tls, resolver=ServerResolver()),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        headers = {**dict(self._settings.headers), "Content-Type": "application/x-protobuf"}
        if self._settings.gzip:
            headers["Content-Encoding"] = "gzip"
        async with self._session.post(
            self._settings.endpoint, data=body, headers=headers, allow_redirects=False
        ) as response:
            if response.status >= HTTPStatus.MULTIPLE_CHOICES:
                raise NotTaken(response.status)

    @property
    def _is_tls(self) -> bool:
        return self._settings.endpoint.startswith("https:")

    def _succeeded(self) -> None:
        end = self._thinning.succeeded(self._clock.monotonic())
        if end is not None:
            _log.info("traces_exported_again", failures=end.failures, lasted_s=round(end.lasted_s, 1))

    def _failed(self, because: str) -> None:
        failures = self._thinning.failed(because, self._clock.monotonic())
        if failures is not None:
            dropped, self._dropped = self._queue.dropped - self._dropped, self._queue.dropped
            _log.warning("traces_not_exported", because=because, failures=failures, lost=self.lost, dropped=dropped)


def _encoded(spans: Sequence[ReadableSpan], *, zipped: bool) -> bytes:
    body = encode_spans(spans).SerializeToString()
    return gzip.compress(body, 1) if zipped else body
